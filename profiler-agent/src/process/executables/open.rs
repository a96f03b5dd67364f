//! The ways to a mapped file, and the proof that what they lead to is what was mapped.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rustix::fs::{Stat, fstat, major, minor};

use super::identity::{Key, Shown, is_memory};
use super::{MappedFile, copy};
use crate::confine::{self, Attempts, Opened, Straggler, Unfinished};
use crate::process::elf::{self, ElfError, ElfSummary};
use crate::process::scan;
use crate::process::text::without_deleted;
use crate::profile::{Degradation, FileIdentity, HtlHash, Losses};

/// Opens mapped files.
pub trait OpenMapped: std::fmt::Debug {
    /// Opens what `mapped` is a mapping of, as a copy where its file system may stop answering and it has no more
    /// than `room` bytes; counts in `losses` what is malformed.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open(
        &mut self,
        mapped: &MappedFile<'_>,
        room: u64,
        losses: &mut Losses,
    ) -> Result<Found, Degradation>;

    /// The file of the mapping, without opening it; `None` where the mapping is gone.
    fn shown(&self, mapped: &MappedFile<'_>) -> Option<Shown>;
}

/// How long the collector waits for a file system to open a file and give its first bytes. What takes longer is tried
/// again later, when it may be in the page cache.
const PATIENCE: Duration = Duration::from_millis(250);
/// Files whose opening hangs at a time.
const MAX_HANGING: usize = 16;

/// Opens mapped files, each on a thread that is left behind when the file system does not answer.
#[derive(Debug)]
pub struct Opener {
    ways: Arc<Ways>,
    attempts: Attempts,
    hanging: HashMap<Key, Straggler>,
}

/// Opens mapped files through the mapping, in the process's root, in the agent's own, which is kept open
/// with its device and inode.
#[derive(Debug)]
struct Ways(Option<(OwnedFd, (u64, u64))>);

impl Opener {
    /// Opens the agent's own root.
    pub(super) fn new() -> Self {
        let ways = Ways(confine::own_root().ok().and_then(|root| {
            let stat = fstat(&root).ok()?;
            Some((root, (stat.st_dev, stat.st_ino)))
        }));
        Self {
            ways: Arc::new(ways),
            attempts: Attempts::new("file-opener", MAX_HANGING),
            hanging: HashMap::new(),
        }
    }
}

impl OpenMapped for Opener {
    fn open(
        &mut self,
        mapped: &MappedFile<'_>,
        room: u64,
        losses: &mut Losses,
    ) -> Result<Found, Degradation> {
        self.hanging.retain(|_, straggler| !straggler.is_over());
        let key = Key::of(mapped).ok_or(Degradation::ExecutableUnopened)?;
        if self.hanging.contains_key(&key) {
            return Err(Degradation::FileUnanswered);
        }
        if self.attempts.is_full() {
            // So much hangs that no more may: what the kernel itself answers for is still opened.
            return match is_local(mapped) {
                true => self.ways.open(mapped, losses),
                false => Err(Degradation::FileUnanswered),
            };
        }
        let ways = Arc::clone(&self.ways);
        let path: Box<[u8]> = mapped.path.into();
        let (pid, range, offset) = (mapped.pid, mapped.range.clone(), mapped.offset);
        let (identity, time) = (mapped.identity, mapped.time);
        let opened = self.attempts.run(PATIENCE, move || {
            let mut losses = Losses::default();
            let mapped = MappedFile {
                pid,
                range,
                offset,
                identity,
                path: &path,
                time,
            };
            let found = ways.open(&mapped, &mut losses);
            (found.and_then(|found| found.copied(pid, room)), losses)
        });
        match opened {
            Ok((found, counted)) => {
                losses.merge(&counted);
                found
            }
            Err(Unfinished::Late(straggler)) => {
                self.hanging.insert(key, straggler);
                Err(Degradation::FileUnanswered)
            }
            Err(Unfinished::Full) => Err(Degradation::FileUnanswered),
            Err(Unfinished::Panicked) => Err(Degradation::ElfMalformed),
        }
    }

    fn shown(&self, mapped: &MappedFile<'_>) -> Option<Shown> {
        let stat = confine::mapped_attributes(mapped.pid, &mapped.range).ok()?;
        Some(Shown::of(&stat))
    }
}

/// Does the kernel itself answer for the file system of the mapped file?
fn is_local(mapped: &MappedFile<'_>) -> bool {
    match mapped.identity {
        FileIdentity::Inode { major, minor, .. } => {
            confine::is_local_device(Some(mapped.pid), major, minor)
        }
        FileIdentity::BuildId(_) => scan::listed(mapped.pid, mapped.range.start)
            .is_some_and(|line| confine::is_local_device(Some(mapped.pid), line.major, line.minor)),
    }
}

impl Ways {
    fn open(&self, mapped: &MappedFile<'_>, losses: &mut Losses) -> Result<Found, Degradation> {
        let root = confine::process_root(mapped.pid).ok();
        let root_id = root
            .as_ref()
            .and_then(|root| fstat(root).ok())
            .map(|stat| (stat.st_dev, stat.st_ino));
        let foreign = root_id.is_some() && root_id != self.0.as_ref().map(|own| own.1);
        let mut cause = Degradation::ExecutableUnopened;
        let path = Path::new(std::ffi::OsStr::from_bytes(without_deleted(mapped.path)));
        let named = path.is_absolute() && !is_memory(mapped.path);
        let own_root = self.0.as_ref().map(|own| &own.0);
        let ways = [
            Some(Way::Mapping),
            root.as_ref().filter(|_| named).map(Way::Root),
            own_root
                .filter(|_| named && (foreign || root.is_none()))
                .map(Way::Root),
        ];
        let mut found = None;
        for way in ways.into_iter().flatten() {
            let opened = match way {
                Way::Mapping => confine::open_mapped(mapped.pid, &mapped.range),
                Way::Root(root) => confine::open_in_root(root.as_fd(), path),
            };
            let Ok(Opened { file, stat }) = opened else {
                continue;
            };
            let summary = match elf::read(&file) {
                Ok(summary) => summary,
                Err(ElfError::NotElf | ElfError::WrongClass) => ElfSummary::default(),
                Err(ElfError::ShortHeader | ElfError::ProgramHeaders) => {
                    losses.add(Degradation::ElfMalformed, 1);
                    ElfSummary::default()
                }
            };
            if is_what_was_mapped(mapped, &way, &summary, &stat) {
                found = Some((file, stat, summary));
                break;
            }
            cause = Degradation::ExecutableReplaced;
        }
        let (file, stat, summary) = found.ok_or(cause)?;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Found {
            htl_hash: elf::htl_hash(&file, length),
            file,
            stat,
            summary,
            copied: false,
            path: scan::path_in_root(mapped.pid, mapped.path, foreign),
            root: root.filter(|_| foreign).map(File::from),
        })
    }
}

/// A way to a mapped file.
enum Way<'a> {
    Mapping,
    Root(&'a OwnedFd),
}

/// A file that was opened and is what was mapped.
#[derive(Debug)]
pub struct Found {
    pub(super) file: File,
    pub(super) stat: Stat,
    pub(super) summary: ElfSummary,
    pub(super) htl_hash: Option<HtlHash>,
    /// Is `file` a copy in memory?
    pub(super) copied: bool,
    pub(super) path: Box<[u8]>,
    pub(super) root: Option<File>,
}

impl Found {
    /// It itself, or a copy of it where its file system may stop answering.
    fn copied(mut self, pid: u32, room: u64) -> Result<Self, Degradation> {
        let (major, minor) = (major(self.stat.st_dev), minor(self.stat.st_dev));
        let length = self.length();
        if length <= room && !confine::is_local_device(Some(pid), major, minor) {
            self.file =
                copy::of(&self.file, length).map_err(|_| Degradation::ExecutableUnopened)?;
            self.copied = true;
        }
        Ok(self)
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }
}

fn is_what_was_mapped(
    mapped: &MappedFile<'_>,
    way: &Way<'_>,
    summary: &ElfSummary,
    stat: &Stat,
) -> bool {
    match mapped.identity {
        FileIdentity::BuildId(build_id) => summary.build_id == Some(build_id),
        FileIdentity::Inode {
            major: its_major,
            minor: its_minor,
            inode,
            ..
        } => {
            let same = stat.st_ino == inode
                && (major(stat.st_dev), minor(stat.st_dev)) == (its_major, its_minor);
            // Some file systems (btrfs, overlayfs) show other numbers to fstat than to the listing
            // of mappings: then the mapping must still be listed with the numbers of the record, and still be of the
            // opened file after that: what is listed may have come behind the opening.
            let listed = || {
                scan::listed(mapped.pid, mapped.range.start).is_some_and(|line| {
                    (line.major, line.minor, line.inode) == (its_major, its_minor, inode)
                })
            };
            let still_shown = || {
                confine::mapped_attributes(mapped.pid, &mapped.range)
                    .is_ok_and(|shown| Shown::of(&shown).file == Key::of_file(stat))
            };
            same || matches!(way, Way::Mapping) && listed() && still_shown()
        }
    }
}
