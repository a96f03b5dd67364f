//! Mappings of a process in the kernel side's layout. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::layout::ProcessEntry;
    use profiler_common::layout::process::{CHUNKS_PER_PROCESS, MAX_MAPPINGS};
    use proptest::prelude::*;

    proptest! {
        /// The kernel side's two halvings find what a linear search finds.
        #[test]
        fn every_pc_finds_its_mapping(
            gaps in proptest::collection::vec((1u64..9, 1u64..9), 0..MAX_MAPPINGS),
            pcs in proptest::collection::vec(0u64..9000, 50),
        ) {
            let mut at = 0;
            let mut entries = Vec::new();
            for (gap, length) in gaps {
                let start = at + gap - 1;
                entries.push(MappingEntry { start, end: start + length, bias: start, table: 0, pages: 0 });
                at = start + length;
            }
            let chunks: Vec<MappingChunk> = chunk_mappings(&entries).collect();
            prop_assert!(chunks.len() <= CHUNKS_PER_PROCESS);
            let mut process = ProcessEntry::empty(0);
            for (index, chunk) in chunks.iter().enumerate() {
                process.table.first[index] = chunk.mappings[0].start;
                process.table.slot[index] = index as u32;
                process.chunks += 1;
            }
            for pc in pcs {
                let found = process
                    .table
                    .chunk_of(pc, |index| index)
                    .and_then(|slot| chunks[slot as usize].mapping_of(pc, |index| index));
                let expected = entries.iter().find(|entry| entry.start <= pc && pc < entry.end);
                prop_assert_eq!(found, expected);
            }
        }
    }
}
