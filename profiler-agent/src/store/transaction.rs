//! The tables of windows, and what is read of them.

use std::ops::Range;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use crate::bounded_file::guarded;
use crate::profile::ProfileKind;

pub(super) const WINDOWS: TableDefinition<u64, (u64, u64, u64, u64)> =
    TableDefinition::new("windows");
pub(super) const STARTS: TableDefinition<(u64, u64), ()> = TableDefinition::new("starts");
pub(super) const SUMMARIES: TableDefinition<u64, &[u8]> = TableDefinition::new("summaries");
pub(super) const LINKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("links");
/// Id -> `ProfileKind` as a number: of windows that are not of CPU time.
pub(super) const KINDS: TableDefinition<u64, u8> = TableDefinition::new("kinds");
pub(super) const CHUNKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("chunks");

/// A row of `windows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// ns since 1970.
    pub(super) start: u64,
    /// ns since 1970.
    pub(super) end: u64,
    /// Length of the encoded profile.
    pub(super) bytes: u64,
    /// Pages that it takes.
    pub(super) pages: u64,
}

impl Entry {
    pub(super) fn from_row((start, end, bytes, pages): (u64, u64, u64, u64)) -> Self {
        Self {
            start,
            end,
            bytes,
            pages,
        }
    }
}

/// What a window measures; `None` where that is nothing that is known.
pub(super) fn kind_of(
    kinds: &impl ReadableTable<u64, u8>,
    id: u64,
) -> Result<Option<ProfileKind>, redb::Error> {
    let kind = kinds.get(id)?.map_or(0, |row| row.value());
    Ok(ProfileKind::ALL.get(usize::from(kind)).copied())
}

/// Earliest start and latest end.
pub(super) fn extent(database: &Database) -> Result<Option<(u64, u64)>, redb::Error> {
    let transaction = database.begin_read()?;
    let starts = transaction.open_table(STARTS)?;
    let windows = transaction.open_table(WINDOWS)?;
    let (Some(first), Some(last)) = (starts.first()?, starts.last()?) else {
        return Ok(None);
    };
    let (start, _) = first.0.value();
    let (last_start, id) = last.0.value();
    let end = windows
        .get(id)?
        .map_or(last_start, |found| Entry::from_row(found.value()).end);
    Ok(Some((start, end)))
}

/// Visits the windows that overlap `range` (ns since 1970) by start; with an error where a window's own rows cannot be
/// read.
pub(super) fn visit(
    database: &Database,
    longest: u64,
    range: Range<u64>,
    mut visit: impl FnMut(u64, Result<(Entry, &[u8]), redb::Error>),
) -> Result<(), redb::Error> {
    let transaction = database.begin_read()?;
    let windows = transaction.open_table(WINDOWS)?;
    let summaries = transaction.open_table(SUMMARIES)?;
    for id in started(&transaction, longest, &range)? {
        let found = guarded(|| {
            let entry = windows.get(id)?.map(|row| Entry::from_row(row.value()));
            Ok((entry, summaries.get(id)?))
        });
        match found {
            Ok((Some(entry), _)) if entry.end <= range.start => {}
            Ok((Some(entry), Some(summary))) => visit(id, Ok((entry, summary.value()))),
            Ok(_) => {
                let missing = "a row of it is missing".to_owned();
                visit(id, Err(redb::Error::Corrupted(missing)));
            }
            Err(error) => visit(id, Err(error)),
        }
    }
    Ok(())
}

/// The windows that start within `range` or before it by as much as any is long, by start.
fn started(
    transaction: &ReadTransaction,
    longest: u64,
    range: &Range<u64>,
) -> Result<Vec<u64>, redb::Error> {
    let earliest = range.start.saturating_sub(longest);
    if earliest >= range.end {
        return Ok(Vec::new());
    }
    let starts = transaction.open_table(STARTS)?;
    let rows = starts.range((earliest, 0)..(range.end, 0))?;
    rows.map(|row| Ok(row?.0.value().1)).collect()
}

/// Visits the windows that overlap `range` (ns since 1970) by start, with their links; no bytes where a window has none,
/// nothing where they cannot be read.
pub(super) fn visit_links(
    database: &Database,
    longest: u64,
    range: Range<u64>,
    mut visit: impl FnMut(u64, Option<&[u8]>),
) -> Result<(), redb::Error> {
    let transaction = database.begin_read()?;
    let windows = transaction.open_table(WINDOWS)?;
    let links = transaction.open_table(LINKS)?;
    let mut bytes = Vec::new();
    for id in started(&transaction, longest, &range)? {
        bytes.clear();
        let found = guarded(|| {
            let entry = windows.get(id)?.map(|row| Entry::from_row(row.value()));
            if entry.is_some_and(|entry| entry.end > range.start) {
                for row in links.range((id, 0)..=(id, u32::MAX))? {
                    bytes.extend_from_slice(row?.1.value());
                }
            }
            Ok(entry)
        });
        match found {
            Ok(Some(entry)) if entry.end <= range.start => {}
            Ok(Some(_)) => visit(id, Some(&bytes)),
            Ok(None) | Err(_) => visit(id, None),
        }
    }
    Ok(())
}

/// The encoded profile of a window.
pub(super) fn read(database: &Database, id: u64) -> Result<Option<Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let windows = transaction.open_table(WINDOWS)?;
    let chunks = transaction.open_table(CHUNKS)?;
    let Some(entry) = windows.get(id)? else {
        return Ok(None);
    };
    let entry = Entry::from_row(entry.value());
    let mut bytes = Vec::new();
    for row in chunks.range((id, 0)..=(id, u32::MAX))? {
        bytes.extend_from_slice(row?.1.value());
    }
    if bytes.len() as u64 != entry.bytes {
        return Err(redb::Error::Corrupted(format!(
            "window {id} has {} of {} bytes",
            bytes.len(),
            entry.bytes
        )));
    }
    Ok(Some(bytes))
}
