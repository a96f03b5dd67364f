//! The second pass: entries in ascending order of address to the rows of a table.

use gimli::{FrameDescriptionEntry, UnwindContext, UnwindSection};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::PAGE_BITS;

use super::absent::{Absent, TooLarge};
use super::code::Code;
use super::convert::{Context, Converter, Store};
use super::deltas::Deltas;
use super::entries::{Bytes, Entry, Frames};
use super::interner::RuleInterner;
use super::statistics::Statistics;
use super::supplement::Supplement;
use super::writer::Writer;
use crate::profile::{ElfAddress, UnwindTable};

/// Most rows that are converted.
const MAX_ROWS: u32 = 16 << 20;

/// A table that is being written.
pub(super) struct Output {
    writer: Writer,
    rules: RuleInterner,
    /// The last rule and its number: neighbours often are equal.
    last: (Rule, u16),
    start: u64,
    /// What the table begins at, from `start` on.
    base: u64,
    converter: Converter,
    context: UnwindContext<usize, Store>,
    statistics: Statistics,
}

impl Output {
    /// An empty table of `code`.
    pub(super) fn new(
        code: &Code,
        converter: Converter,
        statistics: Statistics,
    ) -> Result<Self, Absent> {
        Ok(Self {
            writer: Writer::new(u64::from(code.span))?,
            rules: RuleInterner::new(),
            last: (Rule::NONE, RuleInterner::NONE),
            start: code.start,
            base: 0,
            converter,
            context: UnwindContext::new_in(),
            statistics,
        })
    }

    /// An empty table of one page of `code`: what lies before or behind it is left out.
    pub(super) fn of_page(
        code: &Code,
        page: u32,
        converter: Converter,
        statistics: Statistics,
    ) -> Result<Self, Absent> {
        Ok(Self {
            writer: Writer::new(1 << PAGE_BITS)?,
            base: u64::from(page) << PAGE_BITS,
            ..Self::new(code, converter, statistics)?
        })
    }

    /// From `offset` of the code on `number` holds.
    fn switch(&mut self, offset: u64, number: u16) -> Result<(), Absent> {
        // Of what begins before a page, the last counts where the page begins.
        self.writer.switch(offset.saturating_sub(self.base), number)
    }

    /// The table, and the counts.
    pub(super) fn finish(self) -> Result<(UnwindTable, Statistics), Absent> {
        let (buckets, words) = self.writer.finish()?;
        let table = UnwindTable {
            start: ElfAddress(self.start + self.base),
            buckets,
            words,
            rules: self.rules.into_rules(),
        };
        Ok((table, self.statistics))
    }

    fn number(&mut self, rule: &Rule) -> u16 {
        if self.last.0 != *rule {
            let number = self.rules.intern(rule).unwrap_or_else(|| {
                self.statistics.rules_full += 1;
                RuleInterner::UNSUPPORTED
            });
            self.last = (*rule, number);
        }
        self.last.1
    }

    /// Writes the one rule of `supplement`, at most up to `end`; returns up to where.
    pub(super) fn supplement(
        &mut self,
        supplement: &Supplement,
        at: Entry,
        end: u32,
    ) -> Result<u32, Absent> {
        let number = self.number(&supplement.rule);
        self.switch(u64::from(at.start), number)?;
        let end = end.min(at.start.saturating_add(supplement.length));
        self.switch(u64::from(end), RuleInterner::NONE)?;
        Ok(end)
    }

    /// Writes the rows of a Go function, at most up to `end`; returns up to where.
    pub(super) fn deltas(
        &mut self,
        deltas: &mut Deltas<'_>,
        at: Entry,
        end: u32,
    ) -> Result<u32, Absent> {
        self.statistics.entries += 1;
        self.statistics.go_functions += 1;
        let mut reached = u64::from(at.start);
        for (range, rule) in deltas {
            let from = range.start.0.wrapping_sub(self.start);
            if from >= u64::from(end) {
                break;
            }
            if self.statistics.rows >= MAX_ROWS {
                return Err(Absent::TooLarge(TooLarge::Rows));
            }
            self.statistics.rows += 1;
            if from >= reached {
                let number = self.number(&rule);
                self.switch(from, number)?;
                reached = range.end.0.wrapping_sub(self.start).max(from);
            }
        }
        let reached = reached.min(u64::from(end));
        self.switch(reached, RuleInterner::NONE)?;
        // At most the `u32` that it was limited by.
        Ok(reached as u32)
    }

    /// Writes the rows of the entry `at`, at most up to `end`; returns up to where.
    pub(super) fn convert<'a, S: UnwindSection<Bytes<'a>>>(
        &mut self,
        frames: Option<&mut Frames<'a, S>>,
        at: Entry,
        end: u32,
    ) -> Result<u32, Absent> {
        let Some(frames) = frames else {
            return Ok(at.start);
        };
        let Some(entry) = frames.entry(at.offset())? else {
            return Ok(at.start);
        };
        self.statistics.entries += 1;
        // While the system call of a signal trampoline is at work, the pc is behind its last instruction.
        let behind = u64::from(entry.is_signal_trampoline());
        let end = entry
            .len()
            .saturating_add(u64::from(at.start))
            .saturating_add(behind)
            .min(u64::from(end));
        let undecoded_from = self.rows(frames, &entry, u64::from(at.start), end)?;
        if let Some(from) = undecoded_from.filter(|from| *from < end) {
            self.statistics.undecodable += 1;
            self.switch(from, RuleInterner::UNSUPPORTED)?;
        }
        self.switch(end, RuleInterner::NONE)?;
        // `end` is at most the `u32` that it was limited by.
        Ok(end as u32)
    }

    /// Writes rows; the offset from which on the instructions could not be decoded.
    fn rows<'a, S: UnwindSection<Bytes<'a>>>(
        &mut self,
        frames: &Frames<'a, S>,
        entry: &FrameDescriptionEntry<Bytes<'a>>,
        start: u64,
        end: u64,
    ) -> Result<Option<u64>, Absent> {
        let mut context = std::mem::take(&mut self.context);
        let result = self.rows_in(&mut context, frames, entry, start, end);
        self.context = context;
        result
    }

    fn rows_in<'a, S: UnwindSection<Bytes<'a>>>(
        &mut self,
        context: &mut UnwindContext<usize, Store>,
        frames: &Frames<'a, S>,
        entry: &FrameDescriptionEntry<Bytes<'a>>,
        start: u64,
        end: u64,
    ) -> Result<Option<u64>, Absent> {
        let mut reached = start;
        let conversion = Context::new(&frames.section, entry);
        let Ok(mut rows) = entry.rows(&frames.section, &frames.bases, context) else {
            return Ok(Some(reached));
        };
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(None),
                Err(_) => return Ok(Some(reached)),
            };
            let from = row.start_address().wrapping_sub(self.start);
            let to = row.end_address().wrapping_sub(self.start);
            if self.statistics.rows >= MAX_ROWS {
                return Err(Absent::TooLarge(TooLarge::Rows));
            }
            self.statistics.rows += 1;
            if from >= end {
                return Ok(None);
            }
            if from < to && from >= reached {
                let rule = self.converter.rule(row, &conversion, &mut self.statistics);
                let number = self.number(&rule);
                self.switch(from, number)?;
                reached = to;
            }
        }
    }
}
