//! From a pc to the rule of its frame: through the process's mappings to an unwind table.

use core::ptr::NonNull;

use profiler_common::layout::process::NO_TABLE;
use profiler_common::layout::{MappingEntry, ProcessEntry, TablePlace};
use profiler_common::unwind::Outcome;
use profiler_common::unwind::table::{
    BLOCK_WORDS, PAGE_BITS, PAGE_BUCKETS, PAGE_EMPTY, PAGE_MISSING, TableBlock, Words, rule_index,
};

use crate::inner_map::InnerMap;
use crate::launder::Cell;
use crate::maps::{CHUNKS, PROCESSES, SEGMENTS};

/// Index of `Rule::NONE`.
const NO_INFORMATION: u16 = 0;

/// An image of a process: its mappings are those from one exec to the next.
#[derive(Clone, Copy)]
pub struct ProcessImage {
    pub pid: u32,
    /// `ProcessEntry::image`.
    pub image: u64,
}

impl ProcessImage {
    /// Its entry, if its mappings are known. It is looked up where a walk comes to another mapping, not at every frame.
    #[inline(always)]
    fn entry(self) -> Option<&'static ProcessEntry> {
        let entry = PROCESSES.get_ptr(self.pid)?;
        // SAFETY: a live element of the table of processes; a replaced element stays valid until the program ends (RCU).
        let entry = unsafe { &*entry };
        (entry.state == ProcessEntry::KNOWN && entry.image == self.image).then_some(entry)
    }
}

/// The index of the rule for `pc`, or why there is none. `mapping` is that of the frame before, and
/// becomes that of `pc`.
#[inline(always)]
pub fn find_rule(
    image: ProcessImage,
    mapping: &mut MappingEntry,
    cell: *mut Cell,
    pc: u64,
) -> (Option<u16>, Outcome) {
    // SAFETY: the cell is this CPU's.
    let launder = |index: u32| unsafe { Cell::launder(cell, u64::from(index)) } as u32;
    if pc < mapping.start || pc >= mapping.end {
        let Some(entry) = image.entry() else {
            return (None, Outcome::TablePending);
        };
        let Some(found) = entry.mapping_of(pc, |slot| CHUNKS.get(slot), launder) else {
            return (None, Outcome::UnknownCode);
        };
        // Field by field: a copy of the whole would be a loop over its bytes.
        mapping.start = found.start;
        mapping.end = found.end;
        mapping.bias = found.bias;
        mapping.table = found.table;
        mapping.pages = found.pages;
    }
    if mapping.table == NO_TABLE {
        return (None, Outcome::TablePending);
    }
    let offset = pc.wrapping_add(mapping.bias);
    if offset >> PAGE_BITS >= u64::from(mapping.pages) {
        // The file has no information for this part of it, or none at all.
        return (Some(NO_INFORMATION), Outcome::NoRule);
    }
    let page = KernelTable::at(mapping.table, cell)
        .and_then(|directory| directory.word((offset >> PAGE_BITS) as u32))
        .unwrap_or(PAGE_MISSING);
    if page == PAGE_EMPTY {
        return (Some(NO_INFORMATION), Outcome::NoRule);
    }
    if page == PAGE_MISSING {
        return (None, Outcome::TablePending);
    }
    let Some(table) = KernelTable::at(page, cell) else {
        return (None, Outcome::TablePending);
    };
    let offset = offset & ((1 << PAGE_BITS) - 1);
    (
        rule_index(&table, PAGE_BUCKETS, offset),
        Outcome::TableCorrupt,
    )
}

/// A table of a page, or a directory, in its segment.
struct KernelTable {
    segment: InnerMap,
    first: u32,
    cell: *mut Cell,
}

impl KernelTable {
    #[inline(always)]
    fn at(place: u32, cell: *mut Cell) -> Option<Self> {
        let place = TablePlace(place);
        Some(Self {
            segment: SEGMENTS.get(place.segment())?,
            first: place.block(),
            cell,
        })
    }
}

impl Words for KernelTable {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u32> {
        // SAFETY: the cell is this CPU's.
        let index = unsafe { Cell::launder(self.cell, u64::from(index)) } as u32;
        let block = self.first + index / BLOCK_WORDS as u32;
        // SAFETY: a segment is an array of such blocks.
        let block: NonNull<TableBlock> = unsafe { self.segment.value(&block) }?;
        // SAFETY: an element of an array stays where it is.
        Some(unsafe { block.as_ref() }.0[index as usize % BLOCK_WORDS])
    }
}
