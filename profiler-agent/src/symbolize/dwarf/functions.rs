//! Where the functions of a unit are.
//!
//! Entries are a tree without an index (DWARF 5, section 7.5.3), so a unit is walked once and the
//! places of its functions are kept: 16 bytes a function. A later address reads its function alone.

use gimli::constants as dw;
use gimli::{AttributeValue, UnitOffset};

use super::sections::{Dwarf, Unit};
use super::work::Work;

/// Functions of a unit that are indexed.
const MAX_FUNCTIONS: usize = 1 << 21;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FunctionRange {
    start: u64,
    length: u32,
    entry: u32,
}

/// The functions of a unit, by address.
#[derive(Debug, Default)]
pub(super) struct FunctionIndex {
    ranges: Box<[FunctionRange]>,
    /// Parallel: the greatest end so far, which bounds the search backwards.
    reach: Box<[u64]>,
}

impl FunctionIndex {
    /// Walks the unit. What comes behind a malformed entry is left out.
    pub(super) fn build(dwarf: &Dwarf<'_>, unit: &Unit<'_>, work: &mut Work<'_>) -> Self {
        let mut ranges = Vec::new();
        // A malformed entry ends the walk: its size, and with it the next entry's place, is unknown.
        walk(dwarf, unit, work, &mut ranges).ok();
        ranges.sort_unstable();
        ranges.dedup();
        let mut reach = 0;
        let reach = ranges
            .iter()
            .map(|range: &FunctionRange| {
                reach = reach.max(range.start.saturating_add(u64::from(range.length)));
                reach
            })
            .collect();
        Self {
            ranges: ranges.into(),
            reach,
        }
    }

    /// The entry of the function at `address`: of several the one that starts last, the innermost.
    pub(super) fn at(&self, address: u64) -> Option<UnitOffset> {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..behind]
            .iter()
            .zip(&self.reach[..behind])
            .rev()
            .take_while(|(_, reach)| **reach > address)
            .find(|(range, _)| address - range.start < u64::from(range.length))
            .map(|(range, _)| UnitOffset(range.entry as usize))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.ranges) + size_of_val(&*self.reach)
    }
}

fn walk(
    dwarf: &Dwarf<'_>,
    unit: &Unit<'_>,
    work: &mut Work<'_>,
    ranges: &mut Vec<FunctionRange>,
) -> gimli::Result<()> {
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() && work.entry() {
        let offset = entries.next_offset();
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        if abbreviation.tag() != dw::DW_TAG_subprogram {
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut code = CodeRanges::default();
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            code.attribute(attribute.name(), attribute.value());
        }
        let Ok(entry) = u32::try_from(offset.0) else {
            return Ok(());
        };
        code.each(dwarf, unit, |start, end| {
            if let Ok(length) = u32::try_from(end.saturating_sub(start))
                && length > 0
                && ranges.len() < MAX_FUNCTIONS
            {
                ranges.push(FunctionRange {
                    start,
                    length,
                    entry,
                });
            }
        });
    }
    Ok(())
}

/// The attributes that state an entry's code (DWARF 5, section 2.17).
#[derive(Default)]
pub(super) struct CodeRanges<'data> {
    low: Option<AttributeValue<super::sections::Slice<'data>>>,
    high: Option<AttributeValue<super::sections::Slice<'data>>>,
    ranges: Option<AttributeValue<super::sections::Slice<'data>>>,
}

impl<'data> CodeRanges<'data> {
    /// Takes an attribute of the entry.
    pub(super) fn attribute(
        &mut self,
        name: gimli::DwAt,
        value: AttributeValue<super::sections::Slice<'data>>,
    ) {
        match name {
            dw::DW_AT_low_pc => self.low = Some(value),
            dw::DW_AT_high_pc => self.high = Some(value),
            dw::DW_AT_ranges => self.ranges = Some(value),
            _ => {}
        }
    }

    /// Calls `each` with start and end of every range.
    pub(super) fn each(
        self,
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        mut each: impl FnMut(u64, u64),
    ) {
        if let Some(ranges) = self.ranges {
            let Ok(Some(mut ranges)) = dwarf.attr_ranges(unit, ranges) else {
                return;
            };
            while let Ok(Some(range)) = ranges.next() {
                each(range.begin, range.end);
            }
            return;
        }
        let address = |value| dwarf.attr_address(unit, value).ok().flatten();
        let (Some(low), Some(high)) = (self.low.and_then(address), self.high) else {
            return;
        };
        // A constant is a length (DWARF 4 and later), an address is an address.
        let end = match high.udata_value() {
            Some(length) => low.checked_add(length),
            None => address(high),
        };
        if let Some(end) = end.filter(|end| *end > low) {
            each(low, end);
        }
    }
}
