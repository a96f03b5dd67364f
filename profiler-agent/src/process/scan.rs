//! Reads processes from /proc: all at the start, one on demand, all again after records were lost.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::time::{ClockId, clock_gettime};

use super::cgroup::{self, Cgroup};
use super::executables::{Executables, Limits, MappedFile};
use super::listing::{Listed, Listings};
use super::maps::{self, MapsLine};
use super::reader::{FoundProcess, Reader};
use super::stat::Stat;
use super::text::{lossy, without_deleted};
use crate::profile::{
    BootTime, ExecutableMapping, FileIdentity, FileOffset, Losses, MappingKind, VirtualAddress,
};

/// Longest line of /proc/PID/maps that is read: a path of 4,096 bytes, escaped.
const MAX_LINE_BYTES: usize = 20 << 10;
/// Longest /proc file of other kinds that is read.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// The machine's processes as /proc shows them.
#[derive(Debug)]
pub struct ProcFs {
    executables: Executables,
    listings: Listings,
    nanoseconds_per_tick: u64,
    text: Vec<u8>,
}

impl ProcFs {
    /// Nothing read yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            executables: Executables::new(limits),
            listings: Listings::default(),
            nanoseconds_per_tick: 1_000_000_000
                / rustix::param::clock_ticks_per_second().clamp(1, 1_000_000_000),
            text: Vec::new(),
        }
    }

    /// The executables that are known.
    #[must_use]
    pub const fn executables(&self) -> &Executables {
        &self.executables
    }

    fn read(&mut self, directory: &OwnedFd, name: &str) -> io::Result<&[u8]> {
        self.text.clear();
        open(directory, name)?
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut self.text)?;
        Ok(&self.text)
    }

    fn mappings(
        &mut self,
        pid: u32,
        directory: &OwnedFd,
        time: BootTime,
    ) -> Option<Vec<ExecutableMapping>> {
        let listed = self.listings.read(pid, directory)?;
        let executables = &mut self.executables;
        let mut content = |line: &MapsLine<'_>| {
            executables.content(&MappedFile {
                pid,
                range: line.range.clone(),
                offset: line.offset,
                identity: FileIdentity::Inode {
                    major: line.major,
                    minor: line.minor,
                    inode: line.inode,
                    generation: 0,
                },
                path: &line.path,
                time,
            })
        };
        let mappings = listed.into_iter().map(|listed| {
            let (range, kind) = match listed {
                Listed::Mapping(line) => (line.range.clone(), content(&line)),
                Listed::Anonymous(range) => (range, MappingKind::Anonymous),
                Listed::Copied {
                    range,
                    offset,
                    beside,
                } => (range, part_at(offset, content(&beside))),
            };
            ExecutableMapping { range, kind }
        });
        Some(mappings.collect())
    }
}

/// What is mapped of a file, from another place on.
fn part_at(offset: FileOffset, kind: MappingKind) -> MappingKind {
    match kind {
        MappingKind::File { executable, .. } => MappingKind::File { executable, offset },
        MappingKind::Anonymous => MappingKind::Anonymous,
    }
}

impl Reader for ProcFs {
    fn pids(&mut self) -> Vec<u32> {
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn process(&mut self, pid: u32) -> Option<FoundProcess> {
        let directory = directory(pid).ok()?;
        let at = now();
        let stat = Stat::parse(self.read(&directory, "stat").ok()?)?;
        if stat.ended() {
            return None;
        }
        // /proc shows the memory and the executable of a thread that has not ended.
        let (pid, directory) = if stat.main_thread_ended() {
            let thread = live_threads(pid).next()?;
            (thread, self::directory(thread).ok()?)
        } else {
            (pid, directory)
        };
        let cgroup = self.read(&directory, "cgroup").ok().and_then(cgroup::parse);
        let (executable, mappings) = if stat.kernel {
            (Box::default(), Some(Vec::new()))
        } else {
            let executable = readlinkat(&directory, "exe", Vec::new()).map_or_else(
                |_| Box::default(),
                |path| {
                    let path = path_in_root(pid, path.to_bytes(), true);
                    lossy(without_deleted(&path))
                },
            );
            // Without the right to read them, there is still a process to name.
            (executable, self.mappings(pid, &directory, at))
        };
        Some(FoundProcess {
            at,
            done: now(),
            started: BootTime(stat.start_ticks.saturating_mul(self.nanoseconds_per_tick)),
            comm: stat.comm,
            parent: stat.parent,
            kernel: stat.kernel,
            threads: stat.threads,
            executable,
            cgroup,
            mappings,
        })
    }

    fn cgroup(&mut self, tid: u32) -> Option<Cgroup> {
        let directory = directory(tid).ok()?;
        let mut cgroup = cgroup::parse(self.read(&directory, "cgroup").ok()?)?;
        if cgroup.unified {
            // Relative to another root (a cgroup namespace) the path names no directory here.
            let path = format!("/sys/fs/cgroup{}", cgroup.path);
            cgroup.id = fs::metadata(path).map_or(0, |metadata| metadata.ino());
        }
        Some(cgroup)
    }

    fn threads(&mut self, pid: u32) -> u32 {
        live_threads(pid).count() as u32
    }

    fn content(&mut self, mapped: &MappedFile<'_>) -> MappingKind {
        self.executables.content(mapped)
    }

    fn prune(&mut self, now: BootTime) {
        self.executables.prune(now);
    }

    fn take_losses(&mut self) -> Losses {
        let mut losses = self.executables.take_losses();
        losses.merge(&self.listings.take_losses());
        losses
    }
}

/// The threads of a process that have not ended.
fn live_threads(pid: u32) -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks.filter_map(|task| {
        let stat = Stat::parse(&fs::read(task.path().join("stat")).ok()?)?;
        if matches!(stat.state, b'Z' | b'X') {
            return None;
        }
        task.file_name().to_str()?.parse().ok()
    })
}

/// The line of /proc/PID/maps whose executable mapping has `address` in it.
pub(super) fn listed(pid: u32, address: VirtualAddress) -> Option<MapsLine<'static>> {
    let directory = directory(pid).ok()?;
    let mut found = None;
    each_line(open(&directory, "maps").ok()?, &mut Vec::new(), |line| {
        if let Some(line) = maps::executable(line)
            && line.range.contains(&address)
        {
            found = Some(line.into_owned());
        }
        found.is_none()
    })
    .ok()?;
    found
}

/// `path` as the process's own root sees it: /proc shows it as the reader's does. They differ only
/// (`foreign`) for a process that was confined to a directory of the reader's own tree.
pub(super) fn path_in_root(pid: u32, path: &[u8], foreign: bool) -> Box<[u8]> {
    if foreign && let Ok(root) = fs::read_link(format!("/proc/{pid}/root")) {
        let root = root.as_os_str().as_bytes();
        if root.len() > 1
            && let Some(within) = path.strip_prefix(root)
            && within.first() == Some(&b'/')
        {
            return within.into();
        }
    }
    path.into()
}

fn directory(pid: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?)
}

pub(super) fn open(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(directory.as_fd(), name, flags, Mode::empty())?.into())
}

/// Calls `use_line` with every line of `file` (those that are too long left out) until it returns
/// false. `buffer` is scratch space.
pub(super) fn each_line(
    mut file: File,
    buffer: &mut Vec<u8>,
    mut use_line: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    buffer.resize(64 << 10, 0);
    let (mut filled, mut skipping) = (0, false);
    loop {
        let read = file.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut start = 0;
        while let Some(length) = buffer[start..filled].iter().position(|byte| *byte == b'\n') {
            if !std::mem::take(&mut skipping) && !use_line(&buffer[start..start + length]) {
                return Ok(());
            }
            start += length + 1;
        }
        if filled - start > MAX_LINE_BYTES {
            skipping = true;
            start = filled;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

fn now() -> BootTime {
    let now = clock_gettime(ClockId::Boottime);
    BootTime(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
