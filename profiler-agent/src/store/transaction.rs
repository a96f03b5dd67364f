//! The tables and the transactions over them.

use std::ops::Range;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::CHUNK;
use super::open::guarded;

const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
const WINDOWS: TableDefinition<u64, (u64, u64, u64, u64)> = TableDefinition::new("windows");
const STARTS: TableDefinition<(u64, u64), ()> = TableDefinition::new("starts");
const SUMMARIES: TableDefinition<u64, &[u8]> = TableDefinition::new("summaries");
const LINKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("links");
const CHUNKS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("chunks");

const VERSION: u64 = 2;
/// Without `links`: none of its windows has any.
const WITHOUT_LINKS: u64 = 1;

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
    fn from_row((start, end, bytes, pages): (u64, u64, u64, u64)) -> Self {
        Self {
            start,
            end,
            bytes,
            pages,
        }
    }
}

/// What is known of all windows without reading them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// How many.
    pub(super) windows: u64,
    /// Pages that they take.
    pub(super) pages: u64,
    /// The longest one's length in ns: how far before a range a window that overlaps it can start.
    pub(super) longest: u64,
    /// Id of the next.
    pub(super) next: u64,
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.windows += 1;
        self.pages = self.pages.saturating_add(entry.pages);
        self.longest = self.longest.max(entry.end.saturating_sub(entry.start));
    }
    fn remove(&mut self, entry: &Entry) {
        self.windows = self.windows.saturating_sub(1);
        self.pages = self.pages.saturating_sub(entry.pages);
    }
}

/// What must hold after an append.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Pages that all windows may take.
    pub(super) pages: u64,
    /// A window that ended at this time (ns since 1970) or before is too old.
    pub(super) oldest_end: u64,
}

/// Makes the tables where they are missing and sums up the windows.
pub(super) fn prepare(database: &Database) -> Result<Totals, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut format = transaction.open_table(FORMAT)?;
        let version = format.get("version")?.map(|value| value.value());
        match version {
            None | Some(WITHOUT_LINKS) => {
                format.insert("version", VERSION)?;
            }
            Some(VERSION) => {}
            Some(other) => {
                return Err(redb::Error::Corrupted(format!(
                    "format {other} is not {VERSION}"
                )));
            }
        }
        transaction.open_table(STARTS)?;
        transaction.open_table(SUMMARIES)?;
        transaction.open_table(LINKS)?;
        transaction.open_table(CHUNKS)?;
    }
    let mut totals = Totals::default();
    {
        let windows = transaction.open_table(WINDOWS)?;
        for row in windows.iter()? {
            let (id, entry) = row?;
            totals.add(&Entry::from_row(entry.value()));
            totals.next = id.value().saturating_add(1);
        }
    }
    commit(transaction)?;
    Ok(totals)
}

/// A window's values, encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) summary: &'a [u8],
    pub(super) links: &'a [u8],
    pub(super) profile: &'a [u8],
}

/// Removes what the bounds ask for and appends a window; its id and the new totals.
pub(super) fn append(
    database: &Database,
    mut totals: Totals,
    entry: &Entry,
    content: Content<'_>,
    bounds: &Bounds,
) -> Result<(u64, Totals), redb::Error> {
    let transaction = database.begin_write()?;
    let id = totals.next;
    {
        let mut windows = transaction.open_table(WINDOWS)?;
        let mut starts = transaction.open_table(STARTS)?;
        let mut summaries = transaction.open_table(SUMMARIES)?;
        let mut links = transaction.open_table(LINKS)?;
        let mut chunks = transaction.open_table(CHUNKS)?;
        let mut doomed = Vec::new();
        for row in starts.iter()? {
            let (start, window) = row?.0.value();
            // Windows that start later end later but for a step of the clock; those wait for it.
            let Some(found) = windows.get(window)? else {
                doomed.push((window, start, None));
                continue;
            };
            let found = Entry::from_row(found.value());
            if found.end > bounds.oldest_end {
                break;
            }
            totals.remove(&found);
            doomed.push((window, start, Some(found)));
        }
        let mut first = windows.iter()?;
        while totals.pages.saturating_add(entry.pages) > bounds.pages {
            let Some(row) = first.next() else { break };
            let (window, found) = row?;
            let found = Entry::from_row(found.value());
            let window = window.value();
            if doomed.iter().all(|(other, ..)| *other != window) {
                totals.remove(&found);
                doomed.push((window, found.start, Some(found)));
            }
        }
        drop(first);
        for (window, start, found) in doomed {
            starts.remove((start, window))?;
            windows.remove(window)?;
            summaries.remove(window)?;
            let pieces = found.map_or(0, |found| found.bytes.div_ceil(CHUNK as u64));
            for piece in 0..pieces {
                chunks.remove((window, piece as u32))?;
            }
            let mut piece = 0;
            while links.remove((window, piece))?.is_some() {
                piece += 1;
            }
        }
        windows.insert(id, (entry.start, entry.end, entry.bytes, entry.pages))?;
        starts.insert((entry.start, id), ())?;
        summaries.insert(id, content.summary)?;
        for (table, bytes) in [(&mut links, content.links), (&mut chunks, content.profile)] {
            for (number, piece) in bytes.chunks(CHUNK).enumerate() {
                table.insert((id, number as u32), piece)?;
            }
        }
    }
    commit(transaction)?;
    totals.add(entry);
    totals.next = id.saturating_add(1);
    Ok((id, totals))
}

fn commit(mut transaction: redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.set_quick_repair(true);
    transaction.commit()?;
    Ok(())
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
