//! Which compilation unit has the code at an address.
//!
//! `.debug_aranges` says it for the units that it lists (DWARF 5, section 6.1.2); of the others the
//! root entry's ranges are read. Neither is trusted to be exact: a unit that is wrongly named has no
//! function for the address, and the next one is asked. Ranges of code that the linker dropped (it
//! leaves them at 0, 1 or -1) lie outside of the file's executable segments and are left out.

use std::ops::Range;

use gimli::{DebugInfoOffset, UnitType};
use hashbrown::HashSet;

use super::sections::Dwarf;
use super::unit::{self, LastTable};
use super::work::Work;

/// Units of a file that are indexed.
const MAX_UNITS: usize = 1 << 20;
/// Ranges after which those that belong together are joined, while they are collected.
const JOIN_EVERY: usize = 1 << 17;
/// Ranges of one unit with no more than this between them become one.
const JOINED_GAP: u64 = 256;

/// Steps that make as much resident as opening a unit: one access to each of its sections brings up to 64 KiB of each.
const UNIT_PAGES: u64 = 1 << 10;
/// Steps that opening a unit costs.
const UNIT_STEPS: usize = 16;
/// Bytes that a unit takes in a set of those that are listed.
const LISTED_BYTES: usize = 32;

#[derive(Clone, Copy, Debug)]
struct UnitRange {
    start: u64,
    end: u64,
    /// The greatest end of this range and those before it: bounds the search backwards.
    reach: u64,
    unit: u32,
}

/// The units of a file, by address and by offset.
#[derive(Debug, Default)]
pub(super) struct UnitIndex {
    ranges: Box<[UnitRange]>,
    /// Sorted offsets into `.debug_info`.
    offsets: Box<[usize]>,
}

impl UnitIndex {
    /// Reads the index of a file whose executable segments are `code`. What is malformed is left out.
    pub(super) fn build(
        dwarf: &Dwarf<'_>,
        code: &[Range<u64>],
        work: &mut Work<'_, '_, '_>,
    ) -> Self {
        let mut offsets = Vec::new();
        let mut ranges = Ranges::default();
        let mut listed = HashSet::new();
        read_aranges(dwarf, code, &mut ranges, &mut listed, work);

        let mut last = LastTable::default();
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            work.touch(UNIT_PAGES);
            if !work.step(UNIT_STEPS) {
                break;
            }
            let Some(DebugInfoOffset(offset)) = header.debug_info_offset() else {
                continue;
            };
            if offsets.len() >= MAX_UNITS || !work.keep(size_of::<usize>()) {
                break;
            }
            offsets.push(offset);
            let code_unit = matches!(
                header.type_(),
                UnitType::Compilation | UnitType::Skeleton(_) | UnitType::SplitCompilation(_)
            );
            if !code_unit || code.is_empty() || listed.contains(&offset) {
                continue;
            }
            let Some(opened) = unit::open(dwarf, header, &mut last, work) else {
                continue;
            };
            opened
                .code
                .each(dwarf, &opened.unit, work, |start, end, work| {
                    ranges.push(code, start..end, offset, work);
                });
        }
        work.release(listed.len() * LISTED_BYTES);
        Self::sorted(ranges, offsets, work)
    }

    fn sorted(mut ranges: Ranges, offsets: Vec<usize>, work: &mut Work<'_, '_, '_>) -> Self {
        ranges.join(work);
        let mut kept: Vec<UnitRange> = Vec::with_capacity(ranges.joined);
        for (start, end, offset) in ranges.all {
            let Ok(unit) = offsets.binary_search(&offset) else {
                continue;
            };
            let reach = kept.last().map_or(end, |last| last.reach.max(end));
            kept.push(UnitRange {
                start,
                end,
                reach,
                unit: unit as u32,
            });
        }
        Self {
            ranges: kept.into(),
            offsets: offsets.into(),
        }
    }

    /// The index of one unit, whose code is known otherwise.
    pub(super) fn of_one(offset: DebugInfoOffset) -> Self {
        Self {
            ranges: Box::default(),
            offsets: Box::new([offset.0]),
        }
    }

    /// The units that may have the code at `address`, `most` of them, as indices. Between two any number of others may lie.
    pub(super) fn at(&self, address: u64, most: usize, work: &mut Work<'_, '_, '_>) -> Vec<u32> {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..behind]
            .iter()
            .rev()
            .take_while(|range| range.reach > address && work.step(1))
            .filter(|range| range.end > address)
            .map(|range| range.unit)
            .take(most)
            .collect()
    }

    /// Where a unit starts in `.debug_info`.
    pub(super) fn offset(&self, unit: u32) -> Option<DebugInfoOffset> {
        self.offsets
            .get(unit as usize)
            .copied()
            .map(DebugInfoOffset)
    }

    /// The unit that holds the entry at `offset`.
    pub(super) fn holding(&self, offset: DebugInfoOffset) -> Option<u32> {
        let behind = self.offsets.partition_point(|start| *start <= offset.0);
        behind.checked_sub(1).map(|unit| unit as u32)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.ranges) + size_of_val(&*self.offsets)
    }
}

fn read_aranges(
    dwarf: &Dwarf<'_>,
    code: &[Range<u64>],
    ranges: &mut Ranges,
    listed: &mut HashSet<usize>,
    work: &mut Work<'_, '_, '_>,
) {
    let mut headers = dwarf.debug_aranges.headers();
    while let Ok(Some(header)) = headers.next() {
        if !work.step(1) {
            return;
        }
        let DebugInfoOffset(offset) = header.debug_info_offset();
        let mut entries = header.entries();
        let mut any = false;
        while let Ok(Some(entry)) = entries.next_raw() {
            if !work.step(1) {
                return;
            }
            if let Ok(Some(entry)) = entries.convert_raw(entry) {
                any = true;
                let range = entry.range();
                ranges.push(code, range.begin..range.end, offset, work);
            }
        }
        if any && work.keep(LISTED_BYTES) {
            listed.insert(offset);
        }
    }
}

/// Ranges that are being collected.
#[derive(Default)]
struct Ranges {
    /// Start, end and unit.
    all: Vec<(u64, u64, usize)>,
    /// Number of them after the last join.
    joined: usize,
}

impl Ranges {
    fn push(
        &mut self,
        code: &[Range<u64>],
        range: Range<u64>,
        unit: usize,
        work: &mut Work<'_, '_, '_>,
    ) {
        let inside = code.iter().any(|code| code.contains(&range.start));
        if inside && range.start < range.end && work.keep(2 * size_of::<UnitRange>()) {
            self.all.push((range.start, range.end, unit));
            if self.all.len() >= self.joined + JOIN_EVERY {
                self.join(work);
            }
        }
    }

    /// Sorts them and makes one of what belongs together.
    fn join(&mut self, work: &mut Work<'_, '_, '_>) {
        let before = self.all.len();
        self.all.sort_unstable();
        self.all.dedup_by(|next, last| {
            let joined = last.2 == next.2 && next.0 <= last.1.saturating_add(JOINED_GAP);
            if joined {
                last.1 = last.1.max(next.1);
            }
            joined
        });
        self.joined = self.all.len();
        work.release((before - self.joined) * 2 * size_of::<UnitRange>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::budget::Budget;

    #[test]
    fn units_between_an_address_and_its_own_are_counted() {
        let range = |start, end, unit| UnitRange {
            start,
            end,
            reach: 10_000,
            unit,
        };
        let mut ranges = vec![range(0, 10_000, 7)];
        ranges.extend((0..1_000).map(|number| range(1 + number, 2 + number, 8)));
        let index = UnitIndex {
            ranges: ranges.into(),
            offsets: Box::default(),
        };
        let never = || false;
        let at = |steps| {
            let mut budget = Budget::new(steps, 0, &never);
            let found = index.at(5_000, 4, &mut Work::new(&[], &mut budget));
            (found, budget.is_cut())
        };
        assert_eq!(at(2_000), (vec![7], false));
        assert_eq!(at(500), (vec![], true));
    }
}
