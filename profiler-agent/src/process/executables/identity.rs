//! What tells mapped files apart.

use rustix::fs::{Stat, Statx, major, minor};

use super::MappedFile;
use crate::process::text::without_deleted;
use crate::profile::{BuildId, FileIdentity};

/// What names the file of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// By what it is and where.
    BuildId(BuildId, Box<[u8]>),
    /// By device and inode: those of the record or the listing of mappings, or those of `fstat(2)`. Where they are not the
    /// same (btrfs has a device of its own for each subvolume, which only the latter shows, and equal inode numbers
    /// in several of them), only the latter tells files apart.
    Inode(u32, u32, u64),
}

impl Key {
    /// What names a file that is open.
    pub(super) fn of_file(stat: &Stat) -> Self {
        Self::Inode(major(stat.st_dev), minor(stat.st_dev), stat.st_ino)
    }

    /// What names the file of a mapping; `None` for anonymous memory.
    pub(super) fn of(mapped: &MappedFile<'_>) -> Option<Self> {
        match mapped.identity {
            FileIdentity::BuildId(build_id) => {
                Some(Self::BuildId(build_id, without_deleted(mapped.path).into()))
            }
            FileIdentity::Inode { inode: 0, .. } => None,
            FileIdentity::Inode {
                major,
                minor,
                inode,
                ..
            } => Some(Self::Inode(major, minor, inode)),
        }
    }
}

/// Length and time of change: they tell that a file was written in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    length: u64,
    seconds: i64,
    nanoseconds: u64,
}

impl Version {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            length: u64::try_from(stat.st_size).unwrap_or(0),
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec,
        }
    }

    pub(super) fn known(stat: &Statx) -> Self {
        Self {
            length: stat.stx_size,
            seconds: stat.stx_mtime.tv_sec,
            nanoseconds: u64::from(stat.stx_mtime.tv_nsec),
        }
    }
}

/// The file that a process has mapped, as the mapping itself shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub(super) file: Key,
    pub(super) version: Version,
}

impl Shown {
    pub(super) fn of(stat: &Statx) -> Self {
        Self {
            file: Key::Inode(stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino),
            version: Version::known(stat),
        }
    }
}

/// Is this a mapping of memory that the kernel gives an inode and a made-up path?
pub(super) fn is_memory(path: &[u8]) -> bool {
    [
        b"/memfd:".as_slice(),
        b"/dev/zero (deleted)",
        b"/SYSV",
        b"/anon_hugepage",
    ]
    .iter()
    .any(|made_up| path.starts_with(made_up))
}
