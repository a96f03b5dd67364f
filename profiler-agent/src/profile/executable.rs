//! Files that code was mapped from.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::OnceLock;

use super::{ElfAddress, FileOffset, VirtualAddress};

/// Bytes of a build id that are kept. Linkers make 8, 16, 20 or 32; a user may state any number.
const MAX_BUILD_ID: usize = 64;

/// A GNU build id (note `NT_GNU_BUILD_ID`): up to 64 bytes kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId {
    length: u8,
    bytes: [u8; MAX_BUILD_ID],
}

impl BuildId {
    /// The build id with these bytes (1 to 64, a longer one is cut); `None` when empty or all zero.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.iter().all(|byte| *byte == 0) {
            return None;
        }
        let length = bytes.len().min(MAX_BUILD_ID);
        let mut kept = [0; MAX_BUILD_ID];
        kept[..length].copy_from_slice(&bytes[..length]);
        Some(Self {
            length: length as u8,
            bytes: kept,
        })
    }
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The head-tail-length hash: the first 16 bytes of SHA-256 over the first 4,096 bytes, the last
/// 4,096 bytes and the length as big-endian u64 (OpenTelemetry semantic conventions,
/// `process.executable.build_id.htlhash`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HtlHash(pub [u8; 16]);

impl fmt::Display for HtlHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names an [`Executable`] within one run of the agent; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutableId(pub u32);

/// A `PT_LOAD` segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it starts in the file.
    pub offset: FileOffset,
    /// Where it starts in the file's own address space.
    pub address: ElfAddress,
    /// Bytes of it that are in the file.
    pub length: u64,
}

/// What, added (wrapping) to a pc in a mapping of `range` that starts at `offset` of the file, gives the
/// file's own address; `None` when none of the executable `segments` lies in the mapping.
///
/// A mapping starts at a page, a segment anywhere in it.
#[must_use]
pub fn mapping_bias(
    segments: &[Segment],
    range: &Range<VirtualAddress>,
    offset: FileOffset,
) -> Option<u64> {
    let length = range.end.0.checked_sub(range.start.0)?;
    let end = offset.0.saturating_add(length);
    let segment = segments.iter().find(|segment| {
        segment.offset.0 < end && offset.0 < segment.offset.0.saturating_add(segment.length)
    })?;
    let address_of_file_start = segment.address.0.wrapping_sub(segment.offset.0);
    let address_of_mapping = address_of_file_start.wrapping_add(offset.0);
    Some(address_of_mapping.wrapping_sub(range.start.0))
}

/// A file (or the vDSO) that code was mapped from; opened when it was first seen, so that it can be
/// read after the last process that ran it is gone.
#[derive(Debug)]
pub struct Executable {
    /// Names it within this run.
    pub id: ExecutableId,
    /// Path as the process's root saw it, `[vdso]`, or `/memfd:NAME`. Untrusted.
    pub path: Box<str>,
    /// The open file; `None` when it could not be opened (`Losses` says why).
    pub file: Option<File>,
    /// The vDSO's bytes, where this is the vDSO.
    pub image: Option<Box<[u8]>>,
    /// Length of the file in bytes.
    pub length: u64,
    /// Its GNU build id.
    pub build_id: Option<BuildId>,
    /// Its head-tail-length hash.
    pub htl_hash: OnceLock<Option<HtlHash>>,
    /// Its executable segments, sorted by offset. Empty when it is no ELF file.
    pub segments: Box<[Segment]>,
    /// The segments that a program reads and cannot write.
    pub constants: Box<[Segment]>,
    /// The process's root directory, kept open to look for debug files in; `None` for the agent's own root.
    pub root: Option<File>,
}

impl Executable {
    /// The file's own address of a file offset.
    #[must_use]
    pub fn elf_address(&self, offset: FileOffset) -> Option<ElfAddress> {
        self.segments.iter().find_map(|segment| {
            let within = offset.0.checked_sub(segment.offset.0)?;
            (within < segment.length).then(|| ElfAddress(segment.address.0.wrapping_add(within)))
        })
    }
    /// Where in the file `length` bytes at an address are that no program can have changed.
    #[must_use]
    pub fn constant_offset(&self, address: ElfAddress, length: u64) -> Option<FileOffset> {
        self.constants.iter().find_map(|segment| {
            let within = address.0.checked_sub(segment.address.0)?;
            let left = segment.length.checked_sub(within)?;
            (length <= left).then(|| FileOffset(segment.offset.0.wrapping_add(within)))
        })
    }
    /// The last component of its path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x7f00_0000_0000;

    /// The file's address of a pc `within` a mapping that starts at `mapping_offset`, for a segment at
    /// `address` and `offset`.
    fn check(address: u64, offset: u64, mapping_offset: u64, within: u64) -> Option<u64> {
        let segment = Segment {
            offset: FileOffset(offset),
            address: ElfAddress(address),
            length: 0x5000,
        };
        let range = VirtualAddress(START)..VirtualAddress(START + 0x6000);
        let bias = mapping_bias(&[segment], &range, FileOffset(mapping_offset))?;
        Some(bias.wrapping_add(START + within))
    }

    #[test]
    fn a_segment_at_a_page() {
        // readelf: LOAD off 0x26000 vaddr 0x26000; maps: 7f0000000000-... r-xp 00026000
        assert_eq!(check(0x26000, 0x26000, 0x26000, 0x123), Some(0x26123));
    }

    #[test]
    fn a_segment_within_a_page() {
        // As lld lays out: LOAD off 0x1640 vaddr 0x202640; maps: ... r-xp 00001000
        assert_eq!(check(0x20_2640, 0x1640, 0x1000, 0x640), Some(0x20_2640));
    }

    #[test]
    fn no_code_in_the_mapping() {
        assert_eq!(check(0x26000, 0x26000, 0x10000, 0), None);
        assert_eq!(check(0x26000, 0x26000, 0x2b000, 0), None);
    }

    #[test]
    fn ranges_that_wrap_are_of_nothing() {
        let range = VirtualAddress(2)..VirtualAddress(1);
        assert_eq!(mapping_bias(&[], &range, FileOffset(0)), None);
        assert_eq!(check(u64::MAX, u64::MAX - 1, u64::MAX, 0), None);
    }
}
