//! The ways to a mapped file, and the proof that what they lead to is what was mapped.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Stat, fstat, major, minor};

use super::MappedFile;
use super::identity::is_memory;
use crate::confine::{self, Opened};
use crate::process::elf::{self, ElfError, ElfSummary};
use crate::process::scan;
use crate::process::text::without_deleted;
use crate::profile::{FileIdentity, LossCause, Losses};

/// Opens mapped files.
pub trait OpenMapped: std::fmt::Debug {
    /// Opens what `mapped` is a mapping of; counts in `losses` what is malformed.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open(&self, mapped: &MappedFile<'_>, losses: &mut Losses) -> Result<Found, LossCause>;
}

/// Opens mapped files through the mapping, in the process's root, in the agent's own, which is kept open
/// with its device and inode.
#[derive(Debug)]
pub struct Opener(Option<(OwnedFd, (u64, u64))>);

impl Opener {
    /// Opens the agent's own root.
    pub(super) fn new() -> Self {
        Self(confine::own_root().ok().and_then(|root| {
            let stat = fstat(&root).ok()?;
            Some((root, (stat.st_dev, stat.st_ino)))
        }))
    }
}

impl OpenMapped for Opener {
    fn open(&self, mapped: &MappedFile<'_>, losses: &mut Losses) -> Result<Found, LossCause> {
        let root = confine::process_root(mapped.pid).ok();
        let root_id = root
            .as_ref()
            .and_then(|root| fstat(root).ok())
            .map(|stat| (stat.st_dev, stat.st_ino));
        let foreign = root_id.is_some() && root_id != self.0.as_ref().map(|own| own.1);
        let mut cause = LossCause::ExecutableUnopened;
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
                Err(ElfError::NotElf) => ElfSummary::default(),
                Err(ElfError::Malformed(_)) => {
                    losses.add(LossCause::ElfMalformed, 1);
                    ElfSummary::default()
                }
            };
            if is_what_was_mapped(mapped, &way, &summary, &stat) {
                found = Some((file, stat, summary));
                break;
            }
            cause = LossCause::ExecutableReplaced;
        }
        let (file, stat, summary) = found.ok_or(cause)?;
        Ok(Found {
            file,
            stat,
            summary,
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
    pub(super) path: Box<[u8]>,
    pub(super) root: Option<File>,
}

impl Found {
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
            // of mappings: then the mapping must still be listed with the numbers of the record.
            same || matches!(way, Way::Mapping)
                && scan::listed(mapped.pid, mapped.range.start).is_some_and(|line| {
                    (line.major, line.minor, line.inode) == (its_major, its_minor, inode)
                })
        }
    }
}
