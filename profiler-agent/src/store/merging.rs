//! Merging windows that are over into spans, one at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::pending::SpanKey;
use super::spans::{self, SpanEntry};
use super::writing::{self, Bounds};
use super::{Store, StoreError, bound, encoding};
use crate::bounded_file::{self, PAGE, guarded};
use crate::profile::cover::{Part, Visited, cover};
use crate::profile::{
    ArchiveError, MergedSpan, Merger, Profile, UnixTime, WindowArchive, WindowId,
};

/// How an attempt to merge a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MergeOutcome {
    /// It is merged.
    Merged,
    /// There is nothing to merge: one window, or one shorter span that has all.
    Single,
    /// What is distinct in it is more than may be merged.
    TooLarge,
    /// Its windows were sampled at different rates: their answers are rounded one by one.
    MixedPeriods,
    /// A window of it cannot be read.
    Damaged,
    /// Windows came or went meanwhile, or the agent stops: it is tried again where there is something to merge.
    Changed,
    /// The file could not be written.
    Failed,
}

impl MergeOutcome {
    /// Every outcome, in order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Merged,
        Self::Single,
        Self::TooLarge,
        Self::MixedPeriods,
        Self::Damaged,
        Self::Changed,
        Self::Failed,
    ];

    /// The outcome in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Single => "single",
            Self::TooLarge => "too_large",
            Self::MixedPeriods => "mixed_periods",
            Self::Damaged => "damaged",
            Self::Changed => "changed",
            Self::Failed => "failed",
        }
    }
}

/// How many spans there were by outcome, since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeCounts([u64; MergeOutcome::ALL.len()]);

impl MergeCounts {
    /// How many ended so.
    #[must_use]
    pub const fn of(&self, outcome: MergeOutcome) -> u64 {
        self.0[outcome as usize]
    }
    fn add(&mut self, outcome: MergeOutcome) {
        self.0[outcome as usize] += 1;
    }
}

/// Makes a profile of a window's bytes.
pub type Decode = dyn Fn(&[u8]) -> Result<Profile, ArchiveError>;

impl Store {
    /// Merges the windows of the next span of time that is over; `None` where there is none. Profiles of windows are
    /// decoded by `decode`, one at a time; what is merged takes about `most` bytes of memory, and a span that needs more stays as its
    /// windows. It is given up when `stop` is set.
    ///
    /// # Errors
    /// The database failed: the span is tried again when the store was opened anew.
    pub fn merge_next(
        &self,
        decode: &Decode,
        (most, stop): (usize, &AtomicBool),
    ) -> Result<Option<MergeOutcome>, StoreError> {
        let Some((key, newest)) = self.due() else {
            return Ok(None);
        };
        let outcome = self.merge(key, decode, (most, stop));
        let counted = *outcome.as_ref().unwrap_or(&MergeOutcome::Failed);
        let mut books = self.lock_books();
        books.merges.add(counted);
        // What changed is noted anew by the append that changed it.
        books.pending.done(key, newest);
        drop(books);
        outcome.map(Some)
    }

    /// How attempts to merge ended so far.
    #[must_use]
    pub fn merges(&self) -> MergeCounts {
        self.lock_books().merges
    }

    /// The next span, with the id of its newest window.
    fn due(&self) -> Option<(SpanKey, u64)> {
        let books = self.lock_books();
        let key = books.pending.due(books.totals.next)?;
        Some((key, books.pending.newest(key)?))
    }

    fn merge(
        &self,
        key: SpanKey,
        decode: &Decode,
        within: (usize, &AtomicBool),
    ) -> Result<MergeOutcome, StoreError> {
        let Some((windows, shorter)) = self.reading(|database| spans::parts(database, key))? else {
            return Ok(MergeOutcome::Failed);
        };
        let parts = parts_of(&windows, shorter);
        if parts.len() < 2 {
            return Ok(MergeOutcome::Single);
        }
        let profile = match self.merged(parts, decode, within) {
            Ok(profile) => profile,
            Err(outcome) => return Ok(outcome),
        };
        let Some(bytes) = encoding::encode(&profile) else {
            return Ok(MergeOutcome::TooLarge);
        };
        self.put(key, windows, &bytes)
    }

    /// The frames of all parts.
    fn merged(
        &self,
        parts: Vec<Part>,
        decode: &Decode,
        (most, stop): (usize, &AtomicBool),
    ) -> Result<Profile, MergeOutcome> {
        let mut merger = Merger::of_frames();
        let mut kind = None;
        let mut add = |profile: Profile| {
            if stop.load(Ordering::Relaxed) {
                return Err(MergeOutcome::Changed);
            }
            if *kind.get_or_insert(profile.kind) != profile.kind {
                return Err(MergeOutcome::MixedPeriods);
            }
            merger.add(&profile, |_| true);
            match merger.bytes() > most {
                true => Err(MergeOutcome::TooLarge),
                false => Ok(()),
            }
        };
        for part in parts {
            match part {
                Part::Window(id) => add(self.window(id, decode)?)?,
                Part::Merged { span, .. } => match self.span_profile(&span) {
                    Ok(Some(profile)) => add(profile)?,
                    Ok(None) => return Err(MergeOutcome::Changed),
                    // It is damaged, its windows need not be.
                    Err(_) => {
                        for id in &span.windows {
                            add(self.window(*id, decode)?)?;
                        }
                    }
                },
            }
        }
        Ok(merger.finish())
    }

    fn window(&self, id: WindowId, decode: &Decode) -> Result<Profile, MergeOutcome> {
        let read = self
            .read(id)
            .and_then(|bytes| bytes.map(|bytes| decode(&bytes)).transpose());
        match read {
            Ok(Some(profile)) => Ok(profile),
            Ok(None) => Err(MergeOutcome::Changed),
            Err(error) => {
                self.note_damage(id, &error);
                Err(MergeOutcome::Damaged)
            }
        }
    }

    /// Puts a span into the file. Waits for an append, as the next append waits for this.
    fn put(
        &self,
        key: SpanKey,
        mut windows: Vec<u64>,
        bytes: &[u8],
    ) -> Result<MergeOutcome, StoreError> {
        windows.sort_unstable();
        let mut entry = SpanEntry {
            bytes: bytes.len() as u64,
            pages: 0,
            windows,
        };
        entry.pages = bound::pages_of(bytes.len(), entry.encoded_windows().len(), 0);
        let _alone = self.lock_appending();
        let Some(database) = self.open_now() else {
            return Ok(MergeOutcome::Failed);
        };
        let room = bounded_file::room(
            bounded_file::file_length(&self.path)?,
            self.limits.max_bytes,
        );
        if entry.pages.saturating_mul(PAGE) > room / 8 {
            return Ok(MergeOutcome::TooLarge);
        }
        let bounds = Bounds {
            pages: room / PAGE,
            oldest_end: 0,
        };
        let totals = self.lock_books().totals;
        let merged = guarded(|| writing::merge(&database, totals, key, &entry, bytes, &bounds));
        match merged {
            Ok(Some(totals)) => {
                let file_bytes = bounded_file::file_length(&self.path).unwrap_or(0);
                let mut books = self.lock_books();
                (books.totals, books.file_bytes) = (totals, file_bytes);
                Ok(MergeOutcome::Merged)
            }
            Ok(None) => Ok(MergeOutcome::Changed),
            Err(source) => {
                self.close(&source);
                Err(self.failed(source))
            }
        }
    }

    /// The encoded profile of a span that stands for its windows, decoded. One that is damaged is noted and merged
    /// again.
    pub(super) fn span_profile(&self, span: &MergedSpan) -> Result<Option<Profile>, ArchiveError> {
        let Some(database) = self.open_now() else {
            return Ok(None);
        };
        let key = SpanKey {
            kind: span.kind,
            level: span.level,
            start: span.start.0,
        };
        let windows: Vec<u64> = span.windows.iter().map(|id| id.0).collect();
        let read = guarded(|| spans::read(&database, key, &windows));
        let decoded = match read {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => {
                encoding::decode(&bytes).ok_or_else(|| "its bytes are damaged".into())
            }
            Err(source) => Err(ArchiveError::from(self.failed(source))),
        };
        decoded.map(Some).inspect_err(|error| {
            self.damage.note_span(key, error);
            let newest = windows.last().copied().unwrap_or(0);
            self.lock_books().pending.note(key, newest);
        })
    }
}

/// The spans as archives name them.
pub(super) fn named((key, entry): spans::Found) -> MergedSpan {
    MergedSpan {
        kind: key.kind,
        level: key.level,
        start: UnixTime(key.start),
        windows: entry.windows.into_iter().map(WindowId).collect(),
        bytes: entry.bytes,
    }
}

/// The longest of the spans that have nothing but these windows, and the windows that are in none, by time: each window
/// once.
fn parts_of(windows: &[u64], spans: Vec<spans::Found>) -> Vec<Part> {
    let visited = windows.iter().map(|id| Visited {
        id: WindowId(*id),
        // A span is always shorter to read than its windows.
        bytes: u64::MAX,
        wanted: true,
    });
    let visited: Vec<Visited> = visited.collect();
    cover(&visited, spans.into_iter().map(named).collect())
}
