//! Which addresses of a file are code.

use std::ops::Range;

use object::elf::PF_X;
use profiler_common::unwind::table::PAGE_BITS;

use super::absent::{Absent, Malformed, TooLarge};
use super::elf::Image;
use crate::elf::Segment;

/// Most executable segments.
const MAX_SEGMENTS: usize = 64;
/// Address space per byte of the file: code of files is dense, give or take alignment.
const SPAN_PER_BYTE: u64 = 16;
/// Code ends below it: the pages of a table, and some bytes behind them, have addresses.
const HIGHEST_END: u64 = u64::MAX - (4 << PAGE_BITS);
/// Address space that every file may span.
const SPAN_AT_LEAST: u64 = 1 << 30;

/// The addresses of a file's code.
#[derive(Debug)]
pub(super) struct Code {
    segments: Vec<Range<u64>>,
    /// First address of the table.
    pub(super) start: u64,
    /// Bytes from there to the end of the code.
    pub(super) span: u32,
}

impl Code {
    pub(super) fn of(image: &Image<'_>, file_length: u64) -> Result<Self, Absent> {
        let segments: Vec<Range<u64>> = image
            .loads
            .iter()
            .filter(|load| load.allows(PF_X) && load.place.length > 0)
            .map(Segment::addresses)
            .collect();
        let start = segments.iter().map(|range| range.start).min();
        let end = segments.iter().map(|range| range.end).max();
        let (Some(start), Some(end)) = (start, end) else {
            return Err(Absent::NoCode);
        };
        if segments.len() > MAX_SEGMENTS || end > HIGHEST_END {
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

    /// Pages of the table.
    pub(super) const fn pages(&self) -> u32 {
        self.span.div_ceil(1 << PAGE_BITS)
    }

    /// Bytes of code in this range of positions.
    pub(super) fn bytes_in(&self, range: &Range<u64>) -> u64 {
        let (start, end) = (self.start + range.start, self.start + range.end);
        let segments = self.segments.iter();
        segments
            .map(|segment| {
                end.min(segment.end)
                    .saturating_sub(start.max(segment.start))
            })
            .sum()
    }

    /// Position of `address` from the start of the table, where it is code.
    pub(super) fn offset(&self, address: u64) -> Option<u32> {
        let inside = self.segments.iter().any(|range| range.contains(&address));
        inside.then(|| (address - self.start) as u32)
    }
}
