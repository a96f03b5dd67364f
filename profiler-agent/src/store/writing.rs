//! The transactions that change the tables: each leaves windows, and the spans merged of them, in agreement.

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::pending::{Pending, SpanKey};
use super::spans::{self, MERGED, MERGED_CHUNKS, SpanEntry};
use super::transaction::{CHUNKS, Entry, KINDS, LINKS, STARTS, SUMMARIES, WINDOWS, kind_of};
use crate::bounded_file::CHUNK;
use crate::profile::ProfileKind;

const FORMAT: TableDefinition<&str, u64> = TableDefinition::new("format");
const VERSION: u64 = 5;
/// Profiles are pprof, those of spans a shorter form.
const WITHOUT_ENCODING: u64 = 4;
/// Without kinds: all of its windows are of CPU time.
const WITHOUT_KINDS: u64 = 3;
/// Without `links`: none of its windows has any.
const WITHOUT_LINKS: u64 = 1;
/// Without merged spans: an agent that knows no others would leave them there when it removes their windows.
const WITHOUT_SPANS: u64 = 2;

/// What is known of all windows and spans without reading them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Windows.
    pub(super) windows: u64,
    /// Merged spans.
    pub(super) spans: u64,
    /// Pages that windows and spans take.
    pub(super) pages: u64,
    /// Pages that spans take.
    pub(super) span_pages: u64,
    /// The longest window's length in ns: how far before a range a window that overlaps it can start.
    pub(super) longest: u64,
    /// Id of the next window.
    pub(super) next: u64,
    /// Windows of each kind.
    pub(super) kinds: [u64; ProfileKind::ALL.len()],
}

impl Totals {
    fn add(&mut self, kind: ProfileKind, entry: &Entry) {
        self.windows += 1;
        self.kinds[kind as usize] += 1;
        self.pages = self.pages.saturating_add(entry.pages);
        self.longest = self.longest.max(entry.end.saturating_sub(entry.start));
    }
    fn remove(&mut self, kind: ProfileKind, entry: &Entry) {
        self.windows = self.windows.saturating_sub(1);
        let of_kind = &mut self.kinds[kind as usize];
        *of_kind = of_kind.saturating_sub(1);
        self.pages = self.pages.saturating_sub(entry.pages);
    }
    fn add_span(&mut self, pages: u64) {
        self.spans += 1;
        self.pages = self.pages.saturating_add(pages);
        self.span_pages = self.span_pages.saturating_add(pages);
    }
    fn remove_span(&mut self, pages: u64) {
        self.spans = self.spans.saturating_sub(1);
        self.pages = self.pages.saturating_sub(pages);
        self.span_pages = self.span_pages.saturating_sub(pages);
    }
}

/// What must hold after an append.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Pages that all windows and spans may take.
    pub(super) pages: u64,
    /// A window that ended at this time (ns since 1970) or before is too old.
    pub(super) oldest_end: u64,
}

/// A window's values, encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) kind: ProfileKind,
    pub(super) summary: &'a [u8],
    pub(super) links: &'a [u8],
    pub(super) profile: &'a [u8],
}

/// The tables of a transaction.
struct Tables<'a> {
    windows: Table<'a, u64, (u64, u64, u64, u64)>,
    starts: Table<'a, (u64, u64), ()>,
    kinds: Table<'a, u64, u8>,
    summaries: Table<'a, u64, &'static [u8]>,
    links: Table<'a, (u64, u32), &'static [u8]>,
    chunks: Table<'a, (u64, u32), &'static [u8]>,
    spans: spans::Tables<'a>,
}

impl<'a> Tables<'a> {
    /// The tables, made where they are missing.
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            windows: transaction.open_table(WINDOWS)?,
            starts: transaction.open_table(STARTS)?,
            kinds: transaction.open_table(KINDS)?,
            summaries: transaction.open_table(SUMMARIES)?,
            links: transaction.open_table(LINKS)?,
            chunks: transaction.open_table(CHUNKS)?,
            spans: spans::Tables {
                merged: transaction.open_table(MERGED)?,
                chunks: transaction.open_table(MERGED_CHUNKS)?,
            },
        })
    }

    /// Removes the windows that the bounds no longer allow where `pages` more are to be had, each with the spans that it
    /// is in; the starts of the windows that were removed.
    fn make_room(
        &mut self,
        totals: &mut Totals,
        pages: u64,
        bounds: &Bounds,
    ) -> Result<Vec<u64>, redb::Error> {
        let mut doomed = Vec::new();
        for row in self.starts.iter()? {
            let (start, window) = row?.0.value();
            // Windows that start later end later but for a step of the clock; those wait for it.
            let Some(found) = self.windows.get(window)? else {
                doomed.push((window, start, None));
                continue;
            };
            let found = Entry::from_row(found.value());
            if found.end > bounds.oldest_end {
                break;
            }
            let kind = kind_of(&self.kinds, window)?.unwrap_or_default();
            totals.remove(kind, &found);
            self.spans.remove_all_of(kind, start, totals)?;
            doomed.push((window, start, Some(found)));
        }
        let mut first = self.windows.iter()?;
        while totals.pages.saturating_add(pages) > bounds.pages {
            let Some(row) = first.next() else { break };
            let (window, found) = row?;
            let found = Entry::from_row(found.value());
            let window = window.value();
            if doomed.iter().all(|(other, ..)| *other != window) {
                let kind = kind_of(&self.kinds, window)?.unwrap_or_default();
                totals.remove(kind, &found);
                self.spans.remove_all_of(kind, found.start, totals)?;
                doomed.push((window, found.start, Some(found)));
            }
        }
        drop(first);
        let starts = doomed.iter().map(|(_, start, _)| *start).collect();
        for (window, start, found) in doomed {
            self.starts.remove((start, window))?;
            self.windows.remove(window)?;
            self.kinds.remove(window)?;
            self.summaries.remove(window)?;
            let pieces = found.map_or(0, |found| found.bytes.div_ceil(CHUNK as u64));
            for piece in 0..pieces {
                self.chunks.remove((window, piece as u32))?;
            }
            let mut piece = 0;
            while self.links.remove((window, piece))?.is_some() {
                piece += 1;
            }
        }
        Ok(starts)
    }

    fn insert(&mut self, id: u64, entry: &Entry, content: Content<'_>) -> Result<(), redb::Error> {
        let row = (entry.start, entry.end, entry.bytes, entry.pages);
        self.windows.insert(id, row)?;
        self.starts.insert((entry.start, id), ())?;
        if content.kind != ProfileKind::default() {
            self.kinds.insert(id, content.kind as u8)?;
        }
        self.summaries.insert(id, content.summary)?;
        for (table, bytes) in [
            (&mut self.links, content.links),
            (&mut self.chunks, content.profile),
        ] {
            for (number, piece) in bytes.chunks(CHUNK).enumerate() {
                table.insert((id, number as u32), piece)?;
            }
        }
        Ok(())
    }
}

/// Makes the tables where they are missing, sums up the windows and finds what is to be merged. A span that does not
/// stand for its windows is removed.
pub(super) fn prepare(database: &Database) -> Result<(Totals, Pending), redb::Error> {
    let transaction = database.begin_write()?;
    // Spans of former versions are of another form.
    let are_spans_of_now = {
        let mut format = transaction.open_table(FORMAT)?;
        let version = format.get("version")?.map(|value| value.value());
        match version {
            None | Some(WITHOUT_LINKS | WITHOUT_SPANS | WITHOUT_KINDS | WITHOUT_ENCODING) => {
                format.insert("version", VERSION)?;
            }
            Some(VERSION) => {}
            Some(other) => {
                return Err(redb::Error::Corrupted(format!(
                    "format {other} is not {VERSION}"
                )));
            }
        }
        version == Some(VERSION)
    };
    let mut totals = Totals::default();
    let mut pending = Pending::default();
    {
        let mut tables = Tables::open(&transaction)?;
        for row in tables.windows.iter()? {
            let (id, entry) = row?;
            let entry = Entry::from_row(entry.value());
            let id = id.value();
            let kind = kind_of(&tables.kinds, id)?.unwrap_or_default();
            totals.add(kind, &entry);
            totals.next = id.saturating_add(1);
            pending.add(kind, entry.start, id);
        }
        let mut unusable = Vec::new();
        for row in tables.spans.merged.iter()? {
            let (key, entry) = row?;
            let Some(key) = spans::key(key.value()) else {
                continue;
            };
            let newest = pending.newest(key);
            let windows = spans::windows_of(&tables.starts, &tables.kinds, key)?;
            match SpanEntry::from_row(entry.value()) {
                Some(entry) if are_spans_of_now && entry.windows == windows && newest.is_some() => {
                    totals.add_span(entry.pages);
                    pending.done(key, newest.unwrap_or(0));
                }
                _ => unusable.push(key),
            }
        }
        for key in unusable {
            tables.spans.remove(key)?;
        }
    }
    commit(transaction)?;
    Ok((totals, pending))
}

/// Removes what the bounds ask for and appends a window; its id and the new totals. No span that it lies in stands for
/// its windows any more.
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
        let mut tables = Tables::open(&transaction)?;
        tables
            .spans
            .remove_all_of(content.kind, entry.start, &mut totals)?;
        tables.make_room(&mut totals, entry.pages, bounds)?;
        tables.insert(id, entry, content)?;
    }
    commit(transaction)?;
    totals.add(content.kind, entry);
    totals.next = id.saturating_add(1);
    Ok((id, totals))
}

/// Puts a span there in the place of the one that may be there, if it stands for its windows as they are now and no
/// window of it would have to go for it; the new totals.
pub(super) fn merge(
    database: &Database,
    mut totals: Totals,
    key: SpanKey,
    entry: &SpanEntry,
    profile: &[u8],
    bounds: &Bounds,
) -> Result<Option<Totals>, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = Tables::open(&transaction)?;
        if spans::windows_of(&tables.starts, &tables.kinds, key)? != entry.windows {
            return Ok(None);
        }
        if let Some(pages) = tables.spans.remove(key)? {
            totals.remove_span(pages);
        }
        let removed = tables.make_room(&mut totals, entry.pages, bounds)?;
        if removed
            .iter()
            .any(|start| (key.start..key.end()).contains(start))
        {
            return Ok(None);
        }
        tables.spans.insert(key, entry, profile)?;
    }
    commit(transaction)?;
    totals.add_span(entry.pages);
    Ok(Some(totals))
}

impl spans::Tables<'_> {
    /// Removes the spans that a window of this kind with this start is in.
    fn remove_all_of(
        &mut self,
        kind: ProfileKind,
        start: u64,
        totals: &mut Totals,
    ) -> Result<(), redb::Error> {
        for key in SpanKey::all_of(kind, start) {
            if let Some(pages) = self.remove(key)? {
                totals.remove_span(pages);
            }
        }
        Ok(())
    }
}

fn commit(mut transaction: WriteTransaction) -> Result<(), redb::Error> {
    transaction.set_quick_repair(true);
    transaction.commit()?;
    Ok(())
}
