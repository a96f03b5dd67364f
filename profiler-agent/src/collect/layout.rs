//! Mappings of a process in the kernel side's layout. Pure.

use std::ops::RangeInclusive;

use profiler_common::layout::process::MAPPINGS_PER_CHUNK;
use profiler_common::layout::{MappingChunk, MappingEntry};

/// Sorted mappings in chunks.
pub fn chunk_mappings(mappings: &[MappingEntry]) -> impl Iterator<Item = MappingChunk> + '_ {
    mappings.chunks(MAPPINGS_PER_CHUNK).map(|part| {
        let mut chunk = MappingChunk {
            mappings: [MappingEntry::UNUSED; MAPPINGS_PER_CHUNK],
        };
        chunk.mappings[..part.len()].copy_from_slice(part);
        chunk
    })
}

/// The entry of an index that stands for a chunk of mappings in `slot`.
#[must_use]
pub fn index_entry(chunk: &MappingChunk, slot: u32) -> MappingEntry {
    let used = chunk.mappings.iter().rfind(|entry| entry.start != u64::MAX);
    MappingEntry {
        start: chunk.mappings[0].start,
        end: used.map_or(0, |last| last.end),
        bias: 0,
        table: slot,
        pages: 0,
    }
}

/// Which of `count` mappings, sorted by address, are left out where there is room for `most` only: those behind the
/// program itself, which is mapped lowest. The C library and the dynamic linker are mapped highest, and most
/// stacks go through them.
#[must_use]
pub const fn left_out(count: usize, most: usize) -> Option<RangeInclusive<usize>> {
    const PROGRAM: usize = 16;
    if count <= most {
        return None;
    }
    Some(PROGRAM..=PROGRAM + (count - most) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::layout::ProcessEntry;
    use profiler_common::layout::process::{CHUNKS_PER_PROCESS, MAX_MAPPINGS};
    use proptest::prelude::*;

    proptest! {
        /// The kernel side's halvings find what a linear search finds, through an index or without one.
        #[test]
        fn every_pc_finds_its_mapping(
            gaps in prop_oneof![
                proptest::collection::vec((1u64..9, 1u64..9), 0..600),
                proptest::collection::vec((1u64..9, 1u64..9), MAX_MAPPINGS - 40..=MAX_MAPPINGS),
            ],
            pcs in proptest::collection::vec(0u64..9000, 50),
        ) {
            let mut at = 0;
            let mut entries = Vec::new();
            for (gap, length) in gaps {
                let start = at + gap - 1;
                entries.push(MappingEntry { start, end: start + length, bias: start, table: 0, pages: 0 });
                at = start + length;
            }
            let mut chunks: Vec<MappingChunk> = chunk_mappings(&entries).collect();
            let mut process = ProcessEntry::empty(0);
            let mut top = 0;
            if chunks.len() > CHUNKS_PER_PROCESS {
                let leaves = (0..).zip(&chunks);
                let index: Vec<_> = leaves.map(|(slot, chunk)| index_entry(chunk, slot)).collect();
                top = chunks.len();
                chunks.extend(chunk_mappings(&index));
                process.index = 1;
            }
            prop_assert!(chunks.len() - top <= CHUNKS_PER_PROCESS);
            for (index, chunk) in chunks[top..].iter().enumerate() {
                process.table.first[index] = chunk.mappings[0].start;
                process.table.slot[index] = (top + index) as u32;
                process.chunks += 1;
            }
            for pc in pcs.into_iter().chain(entries.last().map(|last| last.start)) {
                let chunk = |slot| chunks.get(slot as usize);
                let found = process.mapping_of(pc, chunk, |index| index);
                let expected = entries.iter().find(|entry| entry.start <= pc && pc < entry.end);
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn the_program_and_what_is_mapped_highest_stay() {
        assert_eq!(left_out(8, 8), None);
        assert_eq!(left_out(30, 27), Some(16..=18));
    }
}
