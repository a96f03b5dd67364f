//! Mappings of a process in the kernel side's layout. Pure.

use std::ops::Range;

use profiler_common::layout::process::MAPPINGS_PER_CHUNK;
use profiler_common::layout::{MappingChunk, MappingEntry};

use crate::profile::{FileOffset, Segment, VirtualAddress};

/// What, added (wrapping) to a pc in `range`, gives the file's own address: for the executable
/// segment that the mapping (which starts at `offset` of the file) is of. `None` when it is of none.
///
/// A mapping starts at a page boundary, so before the segment's own start.
pub fn mapping_bias(
    range: &Range<VirtualAddress>,
    offset: FileOffset,
    segments: &[Segment],
) -> Option<u64> {
    let length = range.end.0.checked_sub(range.start.0)?;
    let end = offset.0.checked_add(length)?;
    let segment = segments.iter().find(|segment| {
        segment.offset.0 < end && segment.offset.0.saturating_add(segment.length) > offset.0
    })?;
    let file_to_elf = segment.address.0.wrapping_sub(segment.offset.0);
    Some(
        offset
            .0
            .wrapping_sub(range.start.0)
            .wrapping_add(file_to_elf),
    )
}

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
    use crate::profile::ElfAddress;
    use profiler_common::layout::ProcessEntry;
    use profiler_common::layout::process::{CHUNKS_PER_PROCESS, MAX_MAPPINGS};
    use proptest::prelude::*;

    #[test]
    fn a_mapping_that_starts_before_its_segment_is_placed() {
        let segments = [Segment {
            offset: FileOffset(0x1040),
            address: ElfAddress(0x40_2040),
            length: 0x500,
        }];
        let range = VirtualAddress(0x7000_1000)..VirtualAddress(0x7000_2000);
        let bias = mapping_bias(&range, FileOffset(0x1000), &segments).unwrap();
        assert_eq!(0x7000_1040u64.wrapping_add(bias), 0x40_2040);
        assert_eq!(mapping_bias(&range, FileOffset(0x5000), &segments), None);
    }

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
                entries.push(MappingEntry { start, end: start + length, bias: start, table: 0, buckets: 0 });
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
