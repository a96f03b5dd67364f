//! The files themselves.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{self as sys, Access, AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::bounds::Bounds;
use super::config::Config;
use super::name;
use crate::profile::{Payload, UnixTime};

/// An open directory that is this agent's alone.
#[derive(Debug)]
pub(super) struct Directory {
    directory: OwnedFd,
    path: PathBuf,
    bounds: Bounds,
    /// Files removed for the bounds' sake, ever.
    removed: u64,
}

impl Directory {
    /// Can it be made, opened and written to? Whoever writes to it now does not matter.
    pub(super) fn check(config: &Config) -> io::Result<()> {
        let directory = make(config)?;
        Ok(sys::accessat(
            &directory,
            ".",
            Access::WRITE_OK | Access::EXEC_OK,
            AtFlags::empty(),
        )?)
    }

    /// Opens it, makes it where it is missing, and removes what was left half written.
    pub(super) fn open(config: &Config) -> io::Result<Self> {
        let directory = make(config)?;
        sys::flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            match error {
                Errno::WOULDBLOCK => io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another agent writes to this directory",
                ),
                error => error.into(),
            }
        })?;
        let mut new = Self {
            directory,
            path: config.directory.clone(),
            bounds: Bounds::new(config.max_bytes, config.max_age),
            removed: 0,
        };
        new.look()?;
        Ok(new)
    }

    fn look(&mut self) -> io::Result<()> {
        let mut left = Vec::new();
        for entry in sys::Dir::read_from(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name::is_hidden(name) {
                left.push(name.to_owned());
            } else if name::is_ours(name) {
                // A file that goes away meanwhile is not there.
                let Ok(status) = sys::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
                else {
                    continue;
                };
                if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
                    let bytes = u64::try_from(status.st_size).unwrap_or(0);
                    self.bounds.add(name.to_owned(), bytes);
                }
            }
        }
        for name in left {
            unlink(&self.directory, &name)?;
        }
        Ok(())
    }

    /// Puts a payload's file in its place, and removes those that there is no room for.
    pub(super) fn write(&mut self, payload: &Payload, now: UnixTime) -> io::Result<()> {
        let name = name::of(payload);
        let hidden = name::hidden(&name);
        if let Err(error) = self.place(&name, &hidden, &payload.bytes) {
            // The error to report is the first one.
            let _ = unlink(&self.directory, &hidden);
            return Err(error);
        }
        self.bounds.add(name, payload.bytes.len() as u64);
        self.prune(now)
    }

    fn place(&self, name: &str, hidden: &str, bytes: &[u8]) -> io::Result<()> {
        // Of an attempt that failed half-way; a link that somebody else put there goes, not what it leads to.
        unlink(&self.directory, hidden)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let mut file = File::from(sys::openat(&self.directory, hidden, flags, mode)?);
        file.write_all(bytes)?;
        file.sync_all()?;
        sys::renameat(&self.directory, hidden, &self.directory, name)?;
        Ok(sys::fsync(&self.directory)?)
    }

    fn prune(&mut self, now: UnixTime) -> io::Result<()> {
        let mut removed = 0;
        while let Some(name) = self.bounds.next(now) {
            let name = name.to_owned();
            unlink(&self.directory, &name)?;
            self.bounds.remove(&name);
            removed += 1;
        }
        if removed > 0 {
            self.removed += removed;
            tracing::info!(directory = %self.path.display(), removed, total = self.removed,
                "the oldest files were removed");
        }
        Ok(())
    }
}

/// The directory, made where it is missing.
fn make(config: &Config) -> io::Result<OwnedFd> {
    std::fs::create_dir_all(&config.directory)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(sys::open(&config.directory, flags, Mode::empty())?)
}

/// Removes the name within the directory, where it is there.
fn unlink(directory: &OwnedFd, name: &str) -> io::Result<()> {
    match sys::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
