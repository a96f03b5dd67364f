//! ELF file to unwind table.
//!
//! First pass: find every entry and where its function starts; sort. Second pass: convert
//! rows in ascending order of address and write them as they come, so that beside the
//! section's bytes and 8 bytes an entry only the table itself is held. Where two entries overlap,
//! the one that starts later ends the other, as a binary search by start finds it.

use std::ops::Range;

use gimli::{DebugFrame, FrameDescriptionEntry, LittleEndian, UnwindContext, UnwindSection};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::PAGE_BITS;

use super::absent::{Absent, Malformed, TooLarge};
use super::convert::{Context, Converter, Store};
use super::elf::{Image, Section};
use super::entries::{
    self, Bytes, Entry, EntryOffsets, Frames, Origin, eh_frame_address, offsets_by_header,
};
use super::interner::RuleInterner;
use super::source::Source;
use super::statistics::Statistics;
use super::supplement::{self, Supplement};
use super::trampoline;
use super::writer::Writer;
use crate::profile::{ElfAddress, UnwindTable};

/// Most rows that are converted.
const MAX_ROWS: u32 = 16 << 20;
/// Most executable segments.
const MAX_SEGMENTS: usize = 64;
/// Address space per byte of the file: code of files is dense, give or take alignment.
const SPAN_PER_BYTE: u64 = 16;
/// Address space that every file may span.
const SPAN_AT_LEAST: u64 = 64 << 20;

/// A table and what its build saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The table.
    pub table: UnwindTable,
    /// What was seen and what was given up.
    pub statistics: Statistics,
}

/// Builds the table of an ELF executable or shared object (x86_64 or aarch64, 64-bit,
/// little-endian): from `.eh_frame`, and from `.debug_frame` for functions that `.eh_frame` does not
/// have.
///
/// # Errors
/// The reason why there is none.
pub fn build<S: Source + ?Sized>(source: &S) -> Result<Built, Absent> {
    let image = Image::parse(source)?;
    let code = Code::of(&image, source.length())?;
    let fallback = image.eh_frame_header.as_ref().and_then(|header| {
        let frames = image.loaded_from(source, eh_frame_address(header)?)?;
        let offsets = offsets_by_header(header, &frames);
        Some((frames, offsets))
    });
    let (exception, by_header) = match (&image.eh_frame, &fallback) {
        (Some(section), _) => (Some(section), None),
        (None, Some((section, offsets))) => (Some(section), Some(offsets)),
        (None, None) => (None, None),
    };
    let mut builder = Builder {
        exception: exception.map(|section| entries::exception_frames(section, image.text)),
        debug: image.debug_frame.as_ref().map(debug_frames),
        converter: Converter::new(image.machine),
        supplements: Vec::new(),
        statistics: Statistics::default(),
        code,
    };

    let mut list = builder.entries(exception, by_header, image.debug_frame.as_ref())?;
    builder.supplement(&mut list, Origin::Linkage, supplement::linkage(&image));
    let (mut table, seen) = builder.table(&list)?;
    let searched = trampoline::search(source, &image, &table);
    builder.statistics.unsearched_bytes = searched.skipped;
    if !searched.found.is_empty() {
        drop(table);
        let trampolines = searched.found.len() as u32;
        builder.supplement(&mut list, Origin::Trampoline, searched.found);
        (table, _) = builder.table(&list)?;
        builder.statistics.trampolines = trampolines;
    } else if seen == 0 {
        return Err(if builder.statistics.malformed_entries > 0 {
            Absent::Malformed(Malformed::CallFrames)
        } else {
            Absent::NoUnwindInfo
        });
    }
    Ok(Built {
        table,
        statistics: builder.statistics,
    })
}

fn debug_frames<'a>(section: &'a Section<'_>) -> Frames<'a, DebugFrame<Bytes<'a>>> {
    let mut frames = DebugFrame::new(&section.bytes, LittleEndian);
    frames.set_address_size(8);
    Frames::new(frames, gimli::BaseAddresses::default(), &section.bytes)
}

fn sort(list: &mut Vec<Entry>) {
    list.sort_unstable();
    list.dedup_by_key(|entry| entry.start);
}

/// The addresses of a file's code.
#[derive(Debug)]
struct Code {
    segments: Vec<Range<u64>>,
    /// First address of the table.
    start: u64,
    /// Bytes from there to the end of the code.
    span: u32,
}

impl Code {
    fn of(image: &Image<'_>, file_length: u64) -> Result<Self, Absent> {
        let segments: Vec<Range<u64>> = image
            .loads
            .iter()
            .filter(|load| load.executable && load.length > 0)
            .map(|load| load.address..load.end())
            .collect();
        let start = segments.iter().map(|range| range.start).min();
        let end = segments.iter().map(|range| range.end).max();
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Absent::NoCode);
        };
        if segments.len() > MAX_SEGMENTS {
            return Err(Absent::Malformed(Malformed::Segments));
        }
        let start = start >> PAGE_BITS << PAGE_BITS;
        let bound = file_length
            .saturating_mul(SPAN_PER_BYTE)
            .saturating_add(SPAN_AT_LEAST);
        let span = u32::try_from(end - start)
            .ok()
            .filter(|span| u64::from(*span) <= bound)
            .ok_or(Absent::TooLarge(TooLarge::Span))?;
        Ok(Self {
            segments,
            start,
            span,
        })
    }

    /// Position of `address` from the start of the table, where it is code.
    fn offset(&self, address: u64) -> Option<u32> {
        let inside = self.segments.iter().any(|range| range.contains(&address));
        inside.then(|| (address - self.start) as u32)
    }
}

struct Builder<'a> {
    exception: Option<Frames<'a, gimli::EhFrame<Bytes<'a>>>>,
    debug: Option<Frames<'a, DebugFrame<Bytes<'a>>>>,
    converter: Converter,
    supplements: Vec<Supplement>,
    statistics: Statistics,
    code: Code,
}

impl Builder<'_> {
    /// All entries, sorted, each start once.
    fn entries(
        &mut self,
        exception: Option<&Section<'_>>,
        by_header: Option<&Vec<usize>>,
        debug: Option<&Section<'_>>,
    ) -> Result<Vec<Entry>, Absent> {
        let mut list = Vec::new();
        if let (Some(frames), Some(section)) = (&mut self.exception, exception) {
            let mut collect = |offsets: &mut dyn Iterator<Item = usize>| {
                let origin = Origin::Exception;
                collect(
                    frames,
                    offsets,
                    origin,
                    &self.code,
                    &mut list,
                    &mut self.statistics,
                )
            };
            match by_header.filter(|offsets| !offsets.is_empty()) {
                Some(offsets) => collect(&mut offsets.iter().copied())?,
                None => collect(&mut EntryOffsets::new(
                    &section.bytes,
                    Origin::Exception,
                    by_header.is_some(),
                ))?,
            }
        }
        if let (Some(frames), Some(section)) = (&mut self.debug, debug) {
            let mut offsets = EntryOffsets::new(&section.bytes, Origin::Debug, false);
            let origin = Origin::Debug;
            collect(
                frames,
                &mut offsets,
                origin,
                &self.code,
                &mut list,
                &mut self.statistics,
            )?;
        }
        sort(&mut list);
        Ok(list)
    }

    /// Adds entries for code of known shape.
    fn supplement(&mut self, list: &mut Vec<Entry>, origin: Origin, more: Vec<Supplement>) {
        for supplement in more {
            if let Some(start) = self.code.offset(supplement.address) {
                list.extend(Entry::new(start, origin, self.supplements.len()));
                self.supplements.push(supplement);
            }
        }
        sort(list);
    }

    /// The table of `list`, and how many of its entries were used.
    fn table(&mut self, list: &[Entry]) -> Result<(UnwindTable, u32), Absent> {
        let mut output = Output {
            writer: Writer::new(u64::from(self.code.span))?,
            rules: RuleInterner::new(),
            last: (Rule::NONE, RuleInterner::NONE),
            start: self.code.start,
            converter: self.converter,
            context: UnwindContext::new_in(),
            statistics: Statistics {
                malformed_entries: self.statistics.malformed_entries,
                foreign_entries: self.statistics.foreign_entries,
                unsearched_bytes: self.statistics.unsearched_bytes,
                ..Statistics::default()
            },
        };
        // Up to where the entries so far say something: a linkage table's own information wins.
        let mut described = 0;
        for (index, entry) in list.iter().enumerate() {
            let linkage = entry.origin() == Origin::Linkage;
            let next = list[index + 1..]
                .iter()
                .find(|next| linkage || next.origin() != Origin::Linkage);
            let end = next.map_or(self.code.span, |next| next.start);
            described = match entry.origin() {
                Origin::Linkage if entry.start < described => continue,
                Origin::Trampoline | Origin::Linkage => {
                    let Some(supplement) = self.supplements.get(entry.offset()) else {
                        continue;
                    };
                    output.supplement(supplement, *entry, end)?
                }
                Origin::Exception => output.convert(self.exception.as_mut(), *entry, end)?,
                Origin::Debug => output.convert(self.debug.as_mut(), *entry, end)?,
            };
        }
        self.statistics = output.statistics;
        let (buckets, words) = output.writer.finish()?;
        let table = UnwindTable {
            start: ElfAddress(self.code.start),
            buckets,
            words,
            rules: output.rules.into_rules(),
        };
        Ok((table, self.statistics.entries))
    }
}

fn collect<'a, S: UnwindSection<Bytes<'a>>>(
    frames: &mut Frames<'a, S>,
    offsets: &mut dyn Iterator<Item = usize>,
    origin: Origin,
    code: &Code,
    list: &mut Vec<Entry>,
    statistics: &mut Statistics,
) -> Result<(), Absent> {
    frames.renew();
    for offset in offsets {
        let Some(entry) = frames.entry(offset)? else {
            statistics.malformed_entries += 1;
            continue;
        };
        if entry.len() == 0 {
            continue;
        }
        match code.offset(entry.initial_address()) {
            Some(start) => list.extend(Entry::new(start, origin, offset)),
            None => statistics.foreign_entries += 1,
        }
    }
    frames.renew();
    Ok(())
}

/// The second pass.
struct Output {
    writer: Writer,
    rules: RuleInterner,
    /// The last rule and its number: neighbours often are equal.
    last: (Rule, u16),
    start: u64,
    converter: Converter,
    context: UnwindContext<usize, Store>,
    statistics: Statistics,
}

impl Output {
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
    fn supplement(&mut self, supplement: &Supplement, at: Entry, end: u32) -> Result<u32, Absent> {
        let number = self.number(&supplement.rule);
        self.writer.switch(u64::from(at.start), number)?;
        let end = end.min(at.start.saturating_add(supplement.length));
        self.writer.switch(u64::from(end), RuleInterner::NONE)?;
        Ok(end)
    }

    /// Writes the rows of the entry `at`, at most up to `end`; returns up to where.
    fn convert<'a, S: UnwindSection<Bytes<'a>>>(
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
        let end = entry
            .len()
            .saturating_add(u64::from(at.start))
            .min(u64::from(end));
        let undecoded_from = self.rows(frames, &entry, u64::from(at.start), end)?;
        if let Some(from) = undecoded_from.filter(|from| *from < end) {
            self.statistics.undecodable += 1;
            self.writer.switch(from, RuleInterner::UNSUPPORTED)?;
        }
        self.writer.switch(end, RuleInterner::NONE)?;
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
                self.writer.switch(from, number)?;
                reached = to;
            }
        }
    }
}
