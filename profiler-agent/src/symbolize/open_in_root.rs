//! Opens a file below another process's root directory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Opens `path` for reading as a process with this root would, without leaving the root
/// (`openat2(2)`, `RESOLVE_IN_ROOT`), without following magic links, without waiting for a fifo.
///
/// # Errors
/// What `openat2` says; `InvalidInput` when it is no regular file.
pub(super) fn open_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    let file = rustix::fs::openat2(
        root.as_fd(),
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    Ok(file)
}
