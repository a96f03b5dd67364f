//! The file of one destination: payloads in the order in which they are to be sent.
//!
//! # File
//! `<directory>/<name>.redb`, a redb database of mode 0600; [`file_name`] makes the name. Tables:
//! - `records`: number (u64, ascending) -> header of a payload, as [`record`] has it.
//! - `chunks`: (number, piece) -> a piece of the payload's bytes, at most [`CHUNK`](crate::bounded_file::CHUNK) bytes. Pieces of one
//!   size keep redb's page allocator free of holes: a value of any length would take the next power
//!   of two of pages.
//! - `format`: "version" -> 1. Another version is foreign.
//!
//! # Constraints
//! - The file never grows beyond the limit that it is opened with, as long as the [`cost`]s of what is in it stay
//!   within [`SpoolFile::room`]. redb doubles a file that is full, so a file that may not double any more is kept at
//!   most three quarters full; between 3/8 and 3/4 of the limit hold payloads.
//! - A file that is empty and longer than [`LONG_FILE`] is made anew: redb gives nothing back by itself.
//! - At most [`CACHE_BYTES`] of pages are cached in memory.
//!
//! # Durability and recovery
//! What is changed together is there whole or not at all after a crash at any moment. A durable change is on the
//! device (fsync) when it returns; another one is with the next that is durable. Allocation state is saved with each
//! durable change, so opening after a crash does not walk the file. A file that is corrupt or not ours is renamed to
//! `<name>.redb.corrupt-SECONDS` (one is kept) and a new one is started. A payload whose header or bytes do not
//! have the checksum that was written is damaged: the file stays in use without it.

mod bound;
mod name;
mod record;
mod tables;

use std::path::{Path, PathBuf};

use redb::{Database, Durability};

use crate::bounded_file::{self, FileError, OpenFile, SetAside};
use crate::profile::Payload;

pub use bound::cost;
pub use name::file_name;
pub use record::{Damage, Header};

/// Bytes of pages that are cached in memory.
const CACHE_BYTES: usize = 1 << 20;
/// Bytes of an empty file from which on it is made anew.
const LONG_FILE: u64 = 8 << 20;

/// What a file held when it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Numbers and headers of payloads, in order.
    pub records: Vec<(u64, Header)>,
    /// Payloads that were removed because their headers could not be read.
    pub damaged: u64,
}

/// An open file.
#[derive(Debug)]
pub struct SpoolFile {
    path: PathBuf,
    limit: u64,
    room: u64,
    database: OpenFile,
}

impl SpoolFile {
    /// Opens or makes the file, which may become `limit` bytes long. A corrupt or foreign file is no error: it is set
    /// aside and noted, also where a new one cannot be made then.
    ///
    /// # Errors
    /// The file cannot be made or opened, another process has it open.
    pub fn open(
        path: &Path,
        limit: u64,
        set_aside: &mut Option<SetAside>,
    ) -> Result<(Self, Found), FileError> {
        let (database, listing) =
            bounded_file::open(path, CACHE_BYTES, tables::prepare, set_aside)?;
        let file = Self {
            path: path.to_owned(),
            limit,
            room: bounded_file::room(bounded_file::file_length(path)?, limit),
            database,
        };
        let found = Found {
            records: listing.records,
            damaged: listing.damaged,
        };
        Ok((file, found))
    }

    /// Sets the file aside that is there: the next [`Self::open`] makes a new one.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn set_aside(path: &Path, reason: String) -> Result<SetAside, FileError> {
        bounded_file::set_aside(path, reason)
    }

    /// What the [`cost`]s of all payloads in it may sum up to.
    #[must_use]
    pub const fn room(&self) -> u64 {
        self.room
    }

    /// Removes and appends, in this order, all of it or nothing; safe from power loss when it returns, if it is to be
    /// `durable`. What is not there is no longer there after its removal; what is there is replaced by an append.
    ///
    /// # Errors
    /// The database failed (a full disk, say): whether the change is there is known when the file is opened anew.
    pub fn change(
        &mut self,
        removals: &[u64],
        appends: &[(u64, &Payload)],
        durable: bool,
    ) -> Result<(), FileError> {
        let durability = if durable {
            Durability::Immediate
        } else {
            Durability::None
        };
        self.with(|database| tables::change(database, removals, appends, durability))
    }

    /// The payload with this number.
    ///
    /// # Errors
    /// The database failed.
    pub fn load(&self, number: u64) -> Result<Result<Payload, Damage>, FileError> {
        self.with(|database| tables::load(database, number))
    }

    /// Makes a file anew that is empty, where it is long.
    ///
    /// # Errors
    /// The new one cannot be made.
    pub fn renewed(self) -> Result<Self, FileError> {
        if bounded_file::file_length(&self.path)? < LONG_FILE {
            return Ok(self);
        }
        let (path, limit) = (self.path.clone(), self.limit);
        drop(self);
        bounded_file::remove(&path)?;
        let (file, _) = Self::open(&path, limit, &mut None)?;
        Ok(file)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, FileError> {
        bounded_file::guarded(|| work(&self.database))
            .map_err(|source| FileError::database(&self.path, source))
    }
}
