//! From an address in a process to a position in a table.

use std::ops::Range;

use crate::profile::{ElfAddress, FileOffset, Segment, VirtualAddress};

/// What a pc within a mapping needs added (wrapping) to become an offset into the table that starts
/// at `table_start`: `MappingEntry::bias`.
///
/// `None` when none of the file's executable `segments` lies in the mapping: then the table says
/// nothing about it. A mapping starts at a page, a segment anywhere in it.
#[must_use]
pub fn bias(
    table_start: ElfAddress,
    segments: &[Segment],
    mapping: &Range<VirtualAddress>,
    mapping_offset: FileOffset,
) -> Option<u64> {
    let length = mapping.end.0.checked_sub(mapping.start.0)?;
    let mapping_end = mapping_offset.0.saturating_add(length);
    let segment = segments.iter().find(|segment| {
        segment.offset.0 < mapping_end
            && mapping_offset.0 < segment.offset.0.saturating_add(segment.length)
    })?;
    let address_of_file_start = segment.address.0.wrapping_sub(segment.offset.0);
    let address_of_mapping = address_of_file_start.wrapping_add(mapping_offset.0);
    Some(
        address_of_mapping
            .wrapping_sub(mapping.start.0)
            .wrapping_sub(table_start.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: u64, offset: u64, mapping_offset: u64, pc: u64) -> Option<u64> {
        let segment = Segment {
            offset: FileOffset(offset),
            address: ElfAddress(address),
            length: 0x5000,
        };
        let mapping = VirtualAddress(0x7f00_0000_0000)..VirtualAddress(0x7f00_0000_6000);
        let bias = bias(
            ElfAddress(address & !0xffff),
            &[segment],
            &mapping,
            FileOffset(mapping_offset),
        )?;
        Some(bias.wrapping_add(pc))
    }

    #[test]
    fn segment_at_a_page() {
        // readelf: LOAD off 0x26000 vaddr 0x26000; maps: 7f0000000000-... r-xp 00026000
        let offset = check(0x26000, 0x26000, 0x26000, 0x7f00_0000_0123);
        assert_eq!(offset, Some(0x26123 - 0x20000));
    }

    #[test]
    fn segment_within_a_page() {
        // As lld lays out: LOAD off 0x1640 vaddr 0x202640; maps: ... r-xp 00001000
        let offset = check(0x202640, 0x1640, 0x1000, 0x7f00_0000_0640);
        assert_eq!(offset, Some(0x202640 - 0x200000));
    }

    #[test]
    fn no_code_in_the_mapping() {
        assert_eq!(check(0x26000, 0x26000, 0x10000, 0x7f00_0000_0000), None);
        assert_eq!(check(0x26000, 0x26000, 0x2b000, 0x7f00_0000_0000), None);
    }
}
