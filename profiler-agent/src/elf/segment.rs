//! Program headers: how a file is loaded.

use std::ops::{Deref, Range};

use object::LittleEndian as LE;
use object::elf::{self, ProgramHeader32, ProgramHeader64};
use object::read::elf::ProgramHeader;

use super::header::Class;
use super::structures;
use crate::profile::{self, ElfAddress, FileOffset};

/// Loaded segments that an address is looked for in. Linked programs have up to ten.
const MAX_LOADED: usize = 64;

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// `p_type`.
    pub kind: elf::ProgramType,
    /// `p_flags`.
    pub flags: elf::ProgramFlags,
    /// Where it lies in the file, as the header states it: the file may be shorter.
    pub place: profile::Segment,
    /// Bytes that it takes in memory.
    pub memory_length: u64,
    /// What its address is a multiple of, give or take the page's offset.
    pub align: u64,
}

impl Segment {
    fn of<H: ProgramHeader<Endian = LE>>(header: &H) -> Self {
        Self {
            kind: header.p_type(LE),
            flags: header.p_flags(LE),
            place: profile::Segment {
                offset: FileOffset(header.p_offset(LE).into()),
                address: ElfAddress(header.p_vaddr(LE).into()),
                length: header.p_filesz(LE).into(),
            },
            memory_length: header.p_memsz(LE).into(),
            align: header.p_align(LE).into(),
        }
    }

    /// Is all of it allowed that these flags say (`PF_X`, `PF_W`, `PF_R`)?
    #[must_use]
    pub const fn allows(&self, flags: elf::ProgramFlags) -> bool {
        self.flags.0 & flags.0 == flags.0
    }

    /// The addresses of the bytes that it has in the file.
    #[must_use]
    pub const fn addresses(&self) -> Range<u64> {
        let start = self.place.address.0;
        start..start.saturating_add(self.place.length)
    }

    /// The same with no more of it than a file of `length` bytes has.
    #[must_use]
    pub fn within(mut self, length: u64) -> Self {
        let rest = length.saturating_sub(self.place.offset.0);
        self.place.length = self.place.length.min(rest);
        self
    }

    /// Where the byte at `address` lies in the file, and how many follow in the segment, that one included.
    #[must_use]
    pub fn position(&self, address: ElfAddress) -> Option<(FileOffset, u64)> {
        let within = address.0.checked_sub(self.place.address.0)?;
        let left = self
            .place
            .length
            .checked_sub(within)
            .filter(|left| *left > 0)?;
        let offset = self.place.offset.0.checked_add(within)?;
        Some((FileOffset(offset), left))
    }
}

/// The program headers of a file.
#[derive(Clone, Copy, Debug)]
pub struct Segments<B> {
    pub(super) class: Class,
    pub(super) headers: B,
}

impl<B: Deref<Target = [u8]>> Segments<B> {
    /// Bytes of one header.
    pub(super) const fn header_bytes(class: Class) -> usize {
        match class {
            Class::Bits32 => size_of::<ProgramHeader32<LE>>(),
            Class::Bits64 => size_of::<ProgramHeader64<LE>>(),
        }
    }

    fn get(&self, index: usize) -> Option<Segment> {
        match self.class {
            Class::Bits32 => structures::<ProgramHeader32<LE>>(&self.headers)
                .get(index)
                .map(Segment::of),
            Class::Bits64 => structures::<ProgramHeader64<LE>>(&self.headers)
                .get(index)
                .map(Segment::of),
        }
    }

    /// All segments, in the order of their headers.
    pub fn iter(&self) -> impl Iterator<Item = Segment> + '_ {
        (0..).map_while(|index| self.get(index))
    }

    /// The segments that are loaded.
    pub fn loaded(&self) -> impl Iterator<Item = Segment> + '_ {
        self.iter().filter(|segment| segment.kind == elf::PT_LOAD)
    }

    /// The segment of this kind; of several the last one, which the dynamic linker takes.
    #[must_use]
    pub fn last(&self, kind: elf::ProgramType) -> Option<Segment> {
        self.iter().filter(|segment| segment.kind == kind).last()
    }

    /// Where the byte at `address` lies in the file, and how many follow in its segment, that one included.
    #[must_use]
    pub fn position(&self, address: ElfAddress) -> Option<(FileOffset, u64)> {
        self.loaded()
            .take(MAX_LOADED)
            .find_map(|segment| segment.position(address))
    }
}
