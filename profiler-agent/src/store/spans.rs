//! The tables of merged spans.
//!
//! A row's windows are their number, then each id as its difference to the one before (LEB128), then the check value of
//! [`seal`](super::seal).

use std::ops::Range;

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::leb128::{Reader, number};
use super::pending::{LEVELS, SpanKey};
use super::seal::{seal, unseal};
use super::transaction::{KINDS, STARTS, kind_of};
use crate::bounded_file::CHUNK;
use crate::profile::ProfileKind;

/// A row of `merged`: bytes, pages, windows.
type Row<'a> = (u64, u64, &'a [u8]);
/// (Level and kind, start) -> row.
pub(super) const MERGED: TableDefinition<(u8, u64), Row<'static>> = TableDefinition::new("merged");
/// (Level and kind, start, number) -> a piece.
pub(super) const MERGED_CHUNKS: TableDefinition<(u8, u64, u32), &[u8]> =
    TableDefinition::new("merged_chunks");

/// What is known of a span without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SpanEntry {
    /// Length of its encoded profile.
    pub(super) bytes: u64,
    /// Pages that it takes.
    pub(super) pages: u64,
    /// The windows that it stands for, by id.
    pub(super) windows: Vec<u64>,
}

impl SpanEntry {
    /// `None` where the row is damaged.
    pub(super) fn from_row((bytes, pages, windows): Row<'_>) -> Option<Self> {
        let mut reader = Reader(unseal(windows)?);
        let mut id = 0u64;
        let count = reader.count(reader.0.len() as u64)?;
        let windows = (0..count).map(|_| {
            id = id.checked_add(reader.number()?)?;
            Some(id)
        });
        let windows: Vec<u64> = windows.collect::<Option<_>>()?;
        reader.0.is_empty().then_some(Self {
            bytes,
            pages,
            windows,
        })
    }

    /// The windows as the row has them.
    pub(super) fn encoded_windows(&self) -> Vec<u8> {
        let mut out = Vec::new();
        number(&mut out, self.windows.len() as u64);
        let mut before = 0;
        for id in &self.windows {
            number(&mut out, id - before);
            before = *id;
        }
        seal(&mut out);
        out
    }
}

/// A span that is there.
pub(super) type Found = (SpanKey, SpanEntry);

/// What is added to a level for each kind after the first.
const KIND: u8 = 16;

/// The key of a row; `None` where there is no such kind.
pub(super) fn key((level, start): (u8, u64)) -> Option<SpanKey> {
    let kind = ProfileKind::ALL.get(usize::from(level / KIND))?;
    Some(SpanKey {
        kind: *kind,
        level: level % KIND,
        start,
    })
}

/// Level and kind in the key of a row.
const fn level_of(kind: ProfileKind, level: u8) -> u8 {
    kind as u8 * KIND + level
}

/// The tables in a transaction that changes them.
pub(super) struct Tables<'a> {
    pub(super) merged: Table<'a, (u8, u64), Row<'static>>,
    pub(super) chunks: Table<'a, (u8, u64, u32), &'static [u8]>,
}

impl Tables<'_> {
    /// Removes a span; the pages that it took, where it was there.
    pub(super) fn remove(&mut self, key: SpanKey) -> Result<Option<u64>, redb::Error> {
        let (level, start) = (level_of(key.kind, key.level), key.start);
        let Some(pages) = self.merged.remove((level, start))?.map(|row| row.value().1) else {
            return Ok(None);
        };
        let mut piece = 0;
        while self.chunks.remove((level, start, piece))?.is_some() {
            piece += 1;
        }
        Ok(Some(pages))
    }

    /// Puts a span there.
    pub(super) fn insert(
        &mut self,
        key: SpanKey,
        entry: &SpanEntry,
        profile: &[u8],
    ) -> Result<(), redb::Error> {
        let (level, start) = (level_of(key.kind, key.level), key.start);
        let windows = entry.encoded_windows();
        let row = (entry.bytes, entry.pages, windows.as_slice());
        self.merged.insert((level, start), row)?;
        for (number, piece) in profile.chunks(CHUNK).enumerate() {
            self.chunks.insert((level, start, number as u32), piece)?;
        }
        Ok(())
    }
}

/// The windows of a span, by id.
pub(super) fn windows_of(
    starts: &impl ReadableTable<(u64, u64), ()>,
    kinds: &impl ReadableTable<u64, u8>,
    key: SpanKey,
) -> Result<Vec<u64>, redb::Error> {
    let mut windows = windows_by_start(starts, kinds, key)?;
    windows.sort_unstable();
    Ok(windows)
}

fn windows_by_start(
    starts: &impl ReadableTable<(u64, u64), ()>,
    kinds: &impl ReadableTable<u64, u8>,
    key: SpanKey,
) -> Result<Vec<u64>, redb::Error> {
    let mut windows = Vec::new();
    for row in starts.range((key.start, 0)..(key.end(), 0))? {
        let (_, id) = row?.0.value();
        if kind_of(kinds, id)? == Some(key.kind) {
            windows.push(id);
        }
    }
    Ok(windows)
}

/// The windows of a span by time of start, and the merged spans of shorter levels that lie in it.
pub(super) fn parts(
    database: &Database,
    key: SpanKey,
) -> Result<(Vec<u64>, Vec<Found>), redb::Error> {
    let transaction = database.begin_read()?;
    let starts = transaction.open_table(STARTS)?;
    let kinds = transaction.open_table(KINDS)?;
    let windows = windows_by_start(&starts, &kinds, key)?;
    let merged = transaction.open_table(MERGED)?;
    let mut shorter = Vec::new();
    for level in 0..key.level {
        let level = level_of(key.kind, level);
        shorter.extend(within(&merged, level, key.start..key.end())?);
    }
    Ok((windows, shorter))
}

/// The spans that may stand for windows that overlap `range` (ns since 1970). `longest` is the length of the longest
/// window.
pub(super) fn overlapping(
    database: &Database,
    longest: u64,
    range: &Range<u64>,
) -> Result<Vec<Found>, redb::Error> {
    let transaction = database.begin_read()?;
    let merged = transaction.open_table(MERGED)?;
    let mut found = Vec::new();
    for (level, length) in (0..).zip(LEVELS) {
        let earliest = range.start.saturating_sub(longest);
        let earliest = earliest - earliest % length;
        if earliest < range.end {
            for kind in ProfileKind::ALL {
                let level = level_of(kind, level);
                found.extend(within(&merged, level, earliest..range.end)?);
            }
        }
    }
    Ok(found)
}

/// The spans of a level and kind that begin within `range`; without those whose row is damaged.
fn within(
    merged: &impl ReadableTable<(u8, u64), Row<'static>>,
    level: u8,
    range: Range<u64>,
) -> Result<Vec<Found>, redb::Error> {
    let mut found = Vec::new();
    for row in merged.range((level, range.start)..(level, range.end))? {
        let (at, entry) = row?;
        if let Some((key, entry)) = key(at.value()).zip(SpanEntry::from_row(entry.value())) {
            found.push((key, entry));
        }
    }
    Ok(found)
}

/// The encoded profile of a span, if it stands for these windows.
pub(super) fn read(
    database: &Database,
    key: SpanKey,
    windows: &[u64],
) -> Result<Option<Vec<u8>>, redb::Error> {
    let (level, start) = (level_of(key.kind, key.level), key.start);
    let transaction = database.begin_read()?;
    let merged = transaction.open_table(MERGED)?;
    let chunks = transaction.open_table(MERGED_CHUNKS)?;
    let Some(row) = merged.get((level, start))? else {
        return Ok(None);
    };
    let Some(entry) = SpanEntry::from_row(row.value()).filter(|entry| entry.windows == windows)
    else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    for row in chunks.range((level, start, 0)..=(level, start, u32::MAX))? {
        bytes.extend_from_slice(row?.1.value());
    }
    if bytes.len() as u64 != entry.bytes {
        let (found, length) = (bytes.len(), entry.bytes);
        return Err(redb::Error::Corrupted(format!(
            "a merged span has {found} of {length} bytes"
        )));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::SpanEntry;

    #[test]
    fn a_damaged_row_is_none() {
        let entry = SpanEntry {
            bytes: 7,
            pages: 8,
            windows: vec![0, 1, 2, 300, 70_000],
        };
        let mut windows = entry.encoded_windows();
        let row = |windows: &[u8]| SpanEntry::from_row((7, 8, windows));
        assert_eq!(row(&windows), Some(entry));
        for place in 0..windows.len() {
            windows[place] ^= 4;
            assert_eq!(row(&windows), None, "byte {place}");
            windows[place] ^= 4;
        }
    }
}
