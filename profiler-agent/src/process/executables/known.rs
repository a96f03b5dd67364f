//! What is known of a file by one of its names, and whether it is still what a mapping is of.

use std::sync::Weak;

use super::identity::{Key, Shown, Version};
use super::{MappedFile, RETRY};
use crate::confine;
use crate::process::text::{lossy, without_deleted};
use crate::profile::{BootTime, Executable, FileIdentity};

/// A name by which a file is known.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) executable: Weak<Executable>,
    pub(super) version: Version,
    /// What records say that it is.
    pub(super) recorded: FileIdentity,
    /// Inode generation; 0 where unknown.
    pub(super) generation: u64,
    /// When the file was last tried to be opened.
    pub(super) tried: BootTime,
    /// Device and inode of the open file; `None` where there is none.
    pub(super) file: Option<Key>,
    /// Does the name belong to this file alone?
    pub(super) exact: bool,
    /// Does it belong to root: nobody else put it there?
    pub(super) of_root: bool,
}

/// The generation of the inode that a record names; 0 where unknown.
pub(super) const fn generation_of(mapped: &MappedFile<'_>) -> u64 {
    match mapped.identity {
        FileIdentity::Inode { generation, .. } => generation,
        FileIdentity::BuildId(_) => 0,
    }
}

impl Known {
    /// Is `executable` still what `mapped` is a mapping of, which shows this file?
    pub(super) fn serves(
        &self,
        executable: &Executable,
        mapped: &MappedFile<'_>,
        shown: Option<&Shown>,
    ) -> bool {
        let Some(file) = &executable.file else {
            return mapped.time.since(self.tried) < RETRY
                && *executable.path == *lossy(without_deleted(mapped.path));
        };
        let same = shown.is_none_or(|shown| {
            self.file.as_ref() == Some(&shown.file) && self.version == shown.version
        });
        match mapped.identity {
            FileIdentity::BuildId(build_id) => {
                same && executable.build_id == Some(build_id) && (shown.is_some() || self.of_root)
            }
            FileIdentity::Inode { generation, .. } if self.is_of(generation) => match shown {
                Some(shown) => {
                    let own = Key::of(mapped).as_ref() == Some(&shown.file);
                    same && (own || self.recorded == mapped.identity)
                }
                None => {
                    // A copy of a file does not change with it.
                    let unchanged = |file: Shown| {
                        self.file.as_ref() != Some(&file.file) || file.version == self.version
                    };
                    self.exact
                        && confine::attributes(file).is_ok_and(|stat| unchanged(Shown::of(&stat)))
                }
            },
            FileIdentity::Inode { .. } => false,
        }
    }

    /// Is it of this generation of its inode? 0 stands for any.
    pub(super) const fn is_of(&self, generation: u64) -> bool {
        generation == 0 || self.generation == 0 || generation == self.generation
    }
}
