//! The local store of windows: one file in a directory, bounded by bytes and age.
//!
//! # File
//! `windows.redb`, a redb database, mode 0600 in a directory of mode 0700. Tables:
//! - `windows`: id (u64, in order of appending) -> start, end (u64, ns since 1970), length of the
//!   encoded profile, pages that it takes.
//! - `starts`: (start, id) -> (): the windows by time.
//! - `kinds`: id -> what the window measures, as a number (`ProfileKind`); not there: CPU time.
//! - `summaries`: id -> summary as [`summary`] has it.
//! - `links`: (id, number) -> a piece of what [`links`] has of the window; none where it has no links.
//! - `chunks`: (id, number) -> a piece of the encoded profile ([`encoding`]; of windows that versions 1 to 4 appended,
//!   pprof), at most [`CHUNK`](bounded_file::CHUNK) bytes. Pieces of one
//!   size keep redb's page allocator free of holes: a value of any length would take the next power
//!   of two of pages.
//! - `merged`: (level plus 16 for each kind after the first, start in ns since 1970) -> length of an encoded profile, pages that it
//!   takes, ids of windows: all windows of one kind whose start lies in that minute (level 0), ten minutes (1) or hour (2), merged.
//! - `merged_chunks`: (level, start, number) -> a piece of the merged profile, as in `chunks`.
//! - `format`: "version" -> 5. Version 1 had no `links`, version 2 no `merged`, version 3 no `kinds` and
//!   no values in `merged`, version 4 profiles as pprof: they become 5, with their windows as they are and their spans
//!   merged anew; another version is foreign.
//!
//! # Merged spans
//! [`Store::merge_next`] merges the windows of a minute, ten minutes or an hour that are over into one profile of their frames
//! ([`Merger::of_frames`](crate::profile::Merger::of_frames), encoded as windows are), which a query over a
//! long range reads in place of the windows. A span is removed by the transaction that removes one of its windows, and by the
//! one that appends a late window to it: what is there stands for exactly the windows that are there.
//! A span that cannot be merged (too much is distinct in it, a window is damaged, the rate of sampling changed) is left to
//! its windows, counted ([`Store::merges`]) and tried again when the store is opened anew.
//!
//! # Constraints
//! - The file never grows beyond `Limits::max_bytes`. redb doubles a file that is full, so a file that
//!   may not double any more is kept at most three quarters full by removing the windows that were
//!   appended first; between 3/8 and 3/4 of `max_bytes` hold profiles, depending on where the
//!   doublings fall.
//! - A window whose end is `max_age` or more before the latest append is removed by that append.
//! - At most [`Limits::CACHE_BYTES`] of pages are cached in memory.
//!
//! # Durability and recovery
//! An append is one transaction with its removals, durable (fsync) when it returns; the window is there
//! whole or not at all after a crash at any moment. Allocation state is saved with each commit, so
//! opening after a crash does not walk the file. A file that is corrupt or not ours is renamed to
//! `windows.redb.corrupt-SECONDS` (one is kept) and a new one is started: [`Store::set_aside`] says so.
//! After a failed append (a full disk, say) the file is opened anew before the next.
//!
//! A window whose rows or bytes cannot be read, or do not have the check value that was written with them, is damaged: it
//! is left out of what is asked for, logged and counted once ([`Store::damages`]), and stays until its time comes. A
//! merged span that is damaged is counted too, merged again, and its windows are read until then. A
//! file whose tables cannot be read is set aside by the next append.
//!
//! What is asked of the store in numbers ([`Store::size`], [`Store::set_aside`]) is there in memory: it waits for no
//! disk.

mod archive;
mod bound;
mod damage;
pub mod encoding;
mod leb128;
mod links;
mod merging;
mod pending;
mod seal;
mod spans;
mod summary;
mod transaction;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

pub use self::merging::{Decode, MergeCounts, MergeOutcome};
use crate::bounded_file::{self, FileError, OpenFile, PAGE, SetAside, guarded};
use crate::profile::{ProfileKind, UnixTime, WindowId, WindowLinks, WindowSummary};
use damage::Damage;
use pending::Pending;
use writing::Totals;

/// What the store may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the file in bytes; at least [`Limits::MIN_BYTES`].
    pub max_bytes: u64,
    /// Age of a window.
    pub max_age: Duration,
}

impl Limits {
    /// The least that `max_bytes` may be.
    pub const MIN_BYTES: u64 = 8 << 20;
    /// Bytes of pages that are cached in memory.
    pub const CACHE_BYTES: usize = 4 << 20;
    /// Bytes of memory that merging takes where there is enough ([`Store::merge_next`]).
    pub const MERGE_BYTES: usize = 16 << 20;
}

impl Default for Limits {
    /// 512 MiB, 7 days.
    fn default() -> Self {
        Self {
            max_bytes: 512 << 20,
            max_age: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The limit is less than a store needs.
    #[error("a store of {0} bytes is too small: give it at least {min} bytes", min = Limits::MIN_BYTES)]
    LimitTooSmall(u64),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The window's bytes are more than an eighth of what the store may hold.
    #[error("a window of {bytes} bytes is too large for a store of {max_bytes} bytes")]
    WindowTooLarge {
        /// Its bytes.
        bytes: u64,
        /// The store's limit.
        max_bytes: u64,
    },
    /// The window ends before it starts.
    #[error("a window ends before it starts")]
    WindowReversed,
}

/// How full the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Windows.
    pub windows: u64,
    /// Bytes of the pages that windows and merged spans take.
    pub used_bytes: u64,
    /// Merged spans.
    pub merged_spans: u64,
    /// Bytes of the pages that merged spans take.
    pub merged_bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
}

/// The open store. Appends exclude each other; reads go on meanwhile.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    limits: Limits,
    /// `None` after a failure that needs the file to be opened anew.
    database: RwLock<Option<Arc<OpenFile>>>,
    /// Held for the whole of an append.
    appending: Mutex<()>,
    /// Held for a moment only.
    books: Mutex<Books>,
    damage: Damage,
}

/// What is known without the disk.
#[derive(Debug, Default)]
struct Books {
    totals: Totals,
    file_bytes: u64,
    pending: Pending,
    merges: MergeCounts,
    /// Why the file is to be set aside before the next append.
    distrusted: Option<String>,
    set_aside: Vec<SetAside>,
}

impl Store {
    /// Name of the file within its directory.
    pub const FILE: &'static str = "windows.redb";

    /// Opens the store in `directory`, making both where they are missing.
    ///
    /// # Errors
    /// The limit is too small, the directory or file cannot be made or opened, another process has
    /// it open. A corrupt or foreign file is no error.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, StoreError> {
        if limits.max_bytes < Limits::MIN_BYTES {
            return Err(StoreError::LimitTooSmall(limits.max_bytes));
        }
        bounded_file::make_directory(directory)
            .map_err(|source| FileError::file("make directory", directory, source))?;
        let store = Self {
            path: directory.join(Self::FILE),
            limits,
            database: RwLock::new(None),
            appending: Mutex::default(),
            books: Mutex::default(),
            damage: Damage::default(),
        };
        store.opened()?;
        Ok(store)
    }

    /// Appends a window and removes what the limits no longer allow, in one transaction.
    ///
    /// # Errors
    /// The window does not fit, or the database failed (a full disk): the window is not stored.
    pub fn append(
        &self,
        start: UnixTime,
        end: UnixTime,
        summary: &WindowSummary,
        links: &WindowLinks,
        bytes: &[u8],
    ) -> Result<WindowId, StoreError> {
        if end < start {
            return Err(StoreError::WindowReversed);
        }
        let _alone = self.lock_appending();
        let database = self.opened()?;
        let kind = summary.kind.kind;
        let summary = summary::encode(summary);
        let links = links::encode(links);
        let pages = bound::pages_of(bytes.len(), summary.len(), links.len());
        let room = bounded_file::room(
            bounded_file::file_length(&self.path)?,
            self.limits.max_bytes,
        );
        if pages.saturating_mul(PAGE) > room / 8 {
            return Err(StoreError::WindowTooLarge {
                bytes: bytes.len() as u64,
                max_bytes: self.limits.max_bytes,
            });
        }
        let entry = transaction::Entry {
            start: start.0,
            end: end.0,
            bytes: bytes.len() as u64,
            pages,
        };
        let bounds = writing::Bounds {
            pages: room / PAGE,
            oldest_end: end.0.saturating_sub(self.limits.max_age.as_nanos() as u64),
        };
        let totals = self.lock_books().totals;
        let content = writing::Content {
            kind,
            summary: &summary,
            links: &links,
            profile: bytes,
        };
        let appended = guarded(|| writing::append(&database, totals, &entry, content, &bounds));
        match appended {
            Ok((id, totals)) => {
                let file_bytes = bounded_file::file_length(&self.path).unwrap_or(0);
                let mut books = self.lock_books();
                (books.totals, books.file_bytes) = (totals, file_bytes);
                books.pending.add(kind, entry.start, id);
                Ok(WindowId(id))
            }
            Err(source) => {
                self.close(&source);
                Err(self.failed(source))
            }
        }
    }

    /// Files that were set aside since the store was opened: each is one loss of history.
    #[must_use]
    pub fn set_aside(&self) -> Vec<SetAside> {
        self.lock_books().set_aside.clone()
    }

    /// The kinds of its windows, in order.
    pub(super) fn kinds_now(&self) -> Vec<ProfileKind> {
        let windows = self.lock_books().totals.kinds;
        let kinds = ProfileKind::ALL.into_iter();
        kinds.filter(|kind| windows[*kind as usize] > 0).collect()
    }

    /// How full it is.
    #[must_use]
    pub fn size(&self) -> StoreSize {
        let books = self.lock_books();
        StoreSize {
            windows: books.totals.windows,
            used_bytes: books.totals.pages.saturating_mul(PAGE),
            merged_spans: books.totals.spans,
            merged_bytes: books.totals.span_pages.saturating_mul(PAGE),
            file_bytes: books.file_bytes,
        }
    }

    /// Windows and merged spans that could not be read back, and files that were set aside, since the store was opened.
    #[must_use]
    pub fn damages(&self) -> u64 {
        self.damage.count() + self.lock_books().set_aside.len() as u64
    }

    fn lock_appending(&self) -> MutexGuard<'_, ()> {
        self.appending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database; opened where it is not. To be called by one at a time.
    fn opened(&self) -> Result<Arc<OpenFile>, StoreError> {
        if let Some(database) = self.open_now() {
            return Ok(database);
        }
        let distrusted = self.lock_books().distrusted.clone();
        if let Some(reason) = distrusted {
            let aside = bounded_file::set_aside(&self.path, reason)?;
            self.lock_books().distrusted = None;
            self.note_aside(aside);
        }
        let mut aside = None;
        let opened = bounded_file::open(
            &self.path,
            Limits::CACHE_BYTES,
            writing::prepare,
            &mut aside,
        );
        if let Some(aside) = aside {
            self.note_aside(aside);
        }
        let (database, (totals, pending)) = opened?;
        let database = Arc::new(database);
        let file_bytes = bounded_file::file_length(&self.path)?;
        {
            let mut books = self.lock_books();
            (books.totals, books.file_bytes, books.pending) = (totals, file_bytes, pending);
        }
        *self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&database));
        Ok(database)
    }

    fn note_aside(&self, aside: SetAside) {
        aside.warn(None);
        self.lock_books().set_aside.push(aside);
    }

    fn open_now(&self) -> Option<Arc<OpenFile>> {
        self.database
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// After a failure: the next append opens the file anew, or another one in its place.
    fn close(&self, failure: &redb::Error) {
        if let redb::Error::Corrupted(reason) = failure {
            self.lock_books().distrusted = Some(reason.clone());
        }
        *self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self, source: redb::Error) -> StoreError {
        FileError::database(&self.path, source).into()
    }
}
