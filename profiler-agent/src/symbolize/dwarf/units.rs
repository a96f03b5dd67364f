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
use super::work::Walked;

/// Units of a file that are indexed.
const MAX_UNITS: usize = 1 << 20;
/// Ranges of a file that are indexed.
const MAX_RANGES: usize = 1 << 21;
/// Ranges of one unit with no more than this between them become one.
const JOINED_GAP: u64 = 256;

/// A unit's worth in [`Walked::pass`]: one access to each of its sections makes up to 64 KiB of each resident.
const UNIT_STEPS: u64 = 1 << 10;

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
    pub(super) fn build(dwarf: &Dwarf<'_>, code: &[Range<u64>], walked: &mut Walked<'_>) -> Self {
        let mut offsets = Vec::new();
        let mut ranges = Vec::new();
        let mut listed = HashSet::new();
        read_aranges(dwarf, code, &mut ranges, &mut listed, walked);

        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next() {
            walked.pass(UNIT_STEPS);
            let Some(DebugInfoOffset(offset)) = header.debug_info_offset() else {
                continue;
            };
            if offsets.len() >= MAX_UNITS {
                break;
            }
            offsets.push(offset);
            let code_unit = matches!(
                header.type_(),
                UnitType::Compilation | UnitType::Skeleton(_) | UnitType::SplitCompilation(_)
            );
            if !code_unit || listed.contains(&offset) {
                continue;
            }
            let Ok(unit) = dwarf.unit(header) else {
                continue;
            };
            let Ok(mut unit_ranges) = dwarf.unit_ranges(&unit) else {
                continue;
            };
            while let Ok(Some(range)) = unit_ranges.next() {
                push(&mut ranges, code, range.begin..range.end, offset);
            }
        }
        Self::sorted(ranges, offsets)
    }

    fn sorted(mut ranges: Vec<(u64, u64, usize)>, offsets: Vec<usize>) -> Self {
        ranges.sort_unstable();
        let mut kept: Vec<UnitRange> = Vec::new();
        for (start, end, offset) in ranges {
            let Ok(unit) = offsets.binary_search(&offset) else {
                continue;
            };
            let unit = unit as u32;
            match kept.last_mut() {
                Some(last) if last.unit == unit && start <= last.end.saturating_add(JOINED_GAP) => {
                    last.end = last.end.max(end);
                    last.reach = last.reach.max(end);
                }
                last => {
                    let reach = last.map_or(end, |last| last.reach.max(end));
                    kept.push(UnitRange {
                        start,
                        end,
                        reach,
                        unit,
                    });
                }
            }
        }
        Self {
            ranges: kept.into(),
            offsets: offsets.into(),
        }
    }

    /// The units that may have the code at `address`, as indices.
    pub(super) fn at(&self, address: u64) -> impl Iterator<Item = u32> + '_ {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..behind]
            .iter()
            .rev()
            .take_while(move |range| range.reach > address)
            .filter(move |range| range.end > address)
            .map(|range| range.unit)
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
    ranges: &mut Vec<(u64, u64, usize)>,
    listed: &mut HashSet<usize>,
    walked: &mut Walked<'_>,
) {
    let mut headers = dwarf.debug_aranges.headers();
    while let Ok(Some(header)) = headers.next() {
        let DebugInfoOffset(offset) = header.debug_info_offset();
        let mut entries = header.entries();
        let mut any = false;
        while let Ok(Some(entry)) = entries.next() {
            let range = entry.range();
            any = true;
            walked.pass(1);
            push(ranges, code, range.begin..range.end, offset);
        }
        if any {
            listed.insert(offset);
        }
    }
}

fn push(ranges: &mut Vec<(u64, u64, usize)>, code: &[Range<u64>], range: Range<u64>, unit: usize) {
    let inside = code.iter().any(|code| code.contains(&range.start));
    if inside && range.start < range.end && ranges.len() < MAX_RANGES {
        ranges.push((range.start, range.end, unit));
    }
}
