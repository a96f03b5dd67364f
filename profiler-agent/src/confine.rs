//! The one place that opens what belongs to other processes. It lies below the stages because two
//! of them need it: `process` opens executables, `symbolize` debug files and perf maps.
//!
//! A path in another process's root is untrusted: that process may be hostile. So every open here
//! - resolves links, `..` and absolute paths within that root (`openat2(2)`, `RESOLVE_IN_ROOT`), and
//!   refuses the magic links of /proc (`RESOLVE_NO_MAGICLINKS`);
//! - first gets a handle without opening (`O_PATH`), looks what it is, and opens only a regular
//!   file: the open of a device can have effects, that of a FIFO can block;
//! - opens with `O_NONBLOCK | O_CLOEXEC | O_NOCTTY`, for reading only, and refuses files longer than
//!   [`MAX_FILE_BYTES`].
//!
//! A file system may not answer: one in user space is as hostile as its owner, one in the network may be gone. Who
//! waits for it waits for ever, and no signal ends that. So what opens or reads such a file runs on a thread that can be
//! left behind ([`Attempts`], [`Readers`]). So does what reads the memory of a process: its owner may have mapped such a file there.

mod attempt;
mod file_system;
mod readers;

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, Statx, StatxFlags, fstat, openat,
    openat2, statx,
};

pub use self::attempt::{Attempts, Straggler, Unfinished};
pub use self::file_system::{attributes, is_local, is_local_device};
pub use self::readers::Readers;
use crate::profile::VirtualAddress;

/// The longest file that is opened.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// `openat2` gives `EAGAIN` when a rename or mount elsewhere made `..` uncertain; so often it is
/// asked again.
const RESOLVE_ATTEMPTS: usize = 16;

/// An open regular file and what it was found to be.
#[derive(Debug)]
pub struct Opened {
    /// The file, open for reading.
    pub file: File,
    /// Its attributes when it was opened.
    pub stat: Stat,
}

/// Opens the regular file at `path`, which is resolved as a process whose root is `root` would.
///
/// # Errors
/// `ENOENT` and the like when nothing is there; `InvalidInput` for what is not a regular file;
/// `FileTooLarge` above [`MAX_FILE_BYTES`].
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<Opened> {
    open_resolved(root, path, OFlags::empty())
}

/// Like [`open_in_root`], and the last name of `path` is the file itself, no symbolic link to it.
///
/// # Errors
/// As [`open_in_root`]; `InvalidInput` for a symbolic link.
pub fn open_in_root_itself(root: BorrowedFd<'_>, path: &Path) -> io::Result<Opened> {
    open_resolved(root, path, OFlags::NOFOLLOW)
}

fn open_resolved(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<Opened> {
    let mut attempts = 0;
    let handle = loop {
        let handle = openat2(
            root,
            path,
            OFlags::PATH | OFlags::CLOEXEC | flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        attempts += 1;
        match handle {
            Err(rustix::io::Errno::AGAIN) if attempts < RESOLVE_ATTEMPTS => {}
            other => break other?,
        }
    };
    open_handle(handle.as_fd())
}

/// Opens the file that process `pid` has mapped at exactly `range`, also when it was deleted or
/// never had a name. The kernel asks for `CAP_CHECKPOINT_RESTORE` (or `CAP_SYS_ADMIN`).
///
/// # Errors
/// `EPERM` without the capability, `ENOENT` when nothing is mapped at exactly `range`, else as
/// [`open_in_root`].
pub fn open_mapped(pid: u32, range: &Range<VirtualAddress>) -> io::Result<Opened> {
    let link = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        range.start.0, range.end.0
    );
    open_handle(openat(CWD, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd())
}

/// Attributes of the file that process `pid` has mapped at exactly `range`, as they are known: its file system is not
/// asked.
///
/// # Errors
/// As [`open_mapped`].
pub fn mapped_attributes(pid: u32, range: &Range<VirtualAddress>) -> io::Result<Statx> {
    let link = format!(
        "/proc/{pid}/map_files/{:x}-{:x}",
        range.start.0, range.end.0
    );
    let flags = AtFlags::STATX_DONT_SYNC;
    Ok(statx(CWD, link, flags, StatxFlags::BASIC_STATS)?)
}

/// A handle on the root directory of process `pid`.
///
/// # Errors
/// `ENOENT`/`ESRCH` when it is gone, `EACCES` without `CAP_SYS_PTRACE`.
pub fn process_root(pid: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(
        CWD,
        format!("/proc/{pid}/root"),
        flags,
        Mode::empty(),
    )?)
}

/// The memory of process `pid`, open for reading; positions in it are addresses. It may let its reader hang: to be read by
/// [`Readers`].
///
/// # Errors
/// `ENOENT`/`ESRCH` when it is gone, `EACCES` without `CAP_SYS_PTRACE`.
pub fn memory_of(pid: u32) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(CWD, format!("/proc/{pid}/mem"), flags, Mode::empty())?.into())
}

/// The environment that process `pid` was started with, as the process has it now: `NAME=VALUE`, each with a zero byte behind it; at
/// most `max_bytes` of it. It is memory of the process, which may let its reader hang: to be read by [`Readers`].
///
/// # Errors
/// `ENOENT`/`ESRCH` when it is gone, `EACCES` without `CAP_SYS_PTRACE`.
pub fn environment_of(pid: u32, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ"))?;
    file.take(max_bytes as u64).read_to_end(&mut content)?;
    Ok(content)
}

/// A handle on the agent's own root directory.
///
/// # Errors
/// When the root directory cannot be opened.
pub fn own_root() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, "/", flags, Mode::empty())?)
}

/// The content of a file that the agent's own configuration names: its path is trusted, what lies there may have become
/// anything. A FIFO is not waited for, a device is not read.
///
/// # Errors
/// As [`open_in_root`]; `FileTooLarge` for more than `max_bytes`.
pub fn read_configured(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let handle = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let file = open_handle(handle.as_fd())?.file;
    let mut content = Vec::new();
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// The pid that process `pid` has in its own pid namespace (perf maps are named by it).
///
/// # Errors
/// When the process is gone.
pub fn namespaced_pid(pid: u32) -> io::Result<u32> {
    let status = std::fs::read(format!("/proc/{pid}/status"))?;
    innermost_pid(&status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The last number of the `NSpid:` line of /proc/PID/status.
fn innermost_pid(status: &[u8]) -> Option<u32> {
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))?;
    std::str::from_utf8(line)
        .ok()?
        .split_ascii_whitespace()
        .next_back()?
        .parse()
        .ok()
}

/// Opens for reading what an `O_PATH` handle is on, if that is a regular file.
fn open_handle(handle: BorrowedFd<'_>) -> io::Result<Opened> {
    let stat = fstat(handle)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if u64::try_from(stat.st_size).map_or(true, |length| length > MAX_FILE_BYTES) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    // The handle cannot change what it is on: this opens the very file that was looked at.
    let file = openat(
        CWD,
        format!("/proc/self/fd/{}", handle.as_raw_fd()),
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )?;
    Ok(Opened {
        file: file.into(),
        stat,
    })
}

#[cfg(test)]
mod tests;
