//! Where the functions of a unit are.
//!
//! Entries are a tree without an index (DWARF 5, section 7.5.3), so a unit is walked once and the
//! places of its functions are kept: 16 bytes a function. A later address reads its function alone.

use gimli::constants as dw;
use gimli::{AttributeValue, UnitOffset};

use super::sections::{Dwarf, Unit};
use super::work::Work;

/// Bytes that a range takes while the index grows.
const RANGE_BYTES: usize = 2 * size_of::<FunctionRange>() + size_of::<u64>();

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
    pub(super) fn build(dwarf: &Dwarf<'_>, unit: &Unit<'_>, work: &mut Work<'_, '_, '_>) -> Self {
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

    /// The entry of the function at `address`: of several the one that starts last, the innermost. Between the two any number
    /// of others may lie.
    pub(super) fn at(&self, address: u64, work: &mut Work<'_, '_, '_>) -> Option<UnitOffset> {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..behind]
            .iter()
            .zip(&self.reach[..behind])
            .rev()
            .take_while(|(_, reach)| **reach > address && work.step(1))
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
    work: &mut Work<'_, '_, '_>,
    ranges: &mut Vec<FunctionRange>,
) -> gimli::Result<()> {
    let mut entries = unit.entries_raw(None)?;
    let mut before = entries.next_offset().0;
    while !entries.is_empty() && work.step(1) {
        let offset = entries.next_offset();
        // Whatever the entry before announced, it has been read up to here.
        if !work.bytes(offset.0 - before) {
            break;
        }
        before = offset.0;
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        if !work.step(abbreviation.attributes().len()) {
            break;
        }
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
        code.each(dwarf, unit, work, |start, end, work| {
            if let Ok(length) = u32::try_from(end.saturating_sub(start))
                && length > 0
                && work.keep(RANGE_BYTES)
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

    /// The address that an entry starts at, as far as it is stated.
    pub(super) fn low(&self, dwarf: &Dwarf<'data>, unit: &Unit<'data>) -> Option<u64> {
        dwarf.attr_address(unit, self.low?).ok().flatten()
    }

    /// Calls `each` with start and end of every range, while the budget lasts.
    pub(super) fn each<'files, 'budget, 'time>(
        &self,
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        work: &mut Work<'files, 'budget, 'time>,
        mut each: impl FnMut(u64, u64, &mut Work<'files, 'budget, 'time>),
    ) {
        if let Some(ranges) = self.ranges {
            let Ok(Some(mut ranges)) = dwarf.attr_ranges(unit, ranges) else {
                return;
            };
            // Item by item: a list may have any number of items that are no ranges.
            while let Ok(Some(item)) = ranges.next_raw() {
                if !work.step(1) {
                    return;
                }
                match ranges.convert_raw(item) {
                    Ok(Some(range)) => each(range.begin, range.end, work),
                    Ok(None) => {}
                    Err(_) => return,
                }
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
            each(low, end, work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::budget::Budget;

    #[test]
    fn functions_between_an_address_and_its_own_are_counted() {
        let range = |start, length| FunctionRange {
            start,
            length,
            entry: length,
        };
        // One around a thousand others.
        let mut ranges = vec![range(0, 10_000)];
        ranges.extend((0..1_000).map(|number| range(1 + number, 1)));
        let index = FunctionIndex {
            reach: vec![10_000; ranges.len()].into(),
            ranges: ranges.into(),
        };
        let never = || false;
        let at = |steps| {
            let mut budget = Budget::new(steps, 0, &never);
            let found = index.at(5_000, &mut Work::new(&[], &mut budget));
            (found, budget.is_cut())
        };
        assert_eq!(at(2_000), (Some(UnitOffset(10_000)), false));
        assert_eq!(at(500), (None, true));
    }
}
