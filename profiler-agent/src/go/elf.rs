//! The parts of an ELF file that lead to a line table.
//!
//! A pointer of a position-independent file is an addend in its relocations. Go's own linker writes it
//! at the pointer's place too, the GNU linker leaves zeros there on x86-64; so relocations come first.

use std::ops::{ControlFlow, Range};

use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{Rela as _, Sym as _};

use crate::elf::dynamic::{Dynamic, relative_kind};
use crate::elf::{ElfFile, Machine, ReadAt as _, Segments, Source as _};
use crate::profile::{ElfAddress, FileOffset};

/// Symbols that are looked at.
const MAX_SYMBOLS: u64 = 4 << 20;
/// The largest page that segments are aligned to.
const LARGEST_PAGE: u64 = 2 << 20;

/// A 64-bit ELF file in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image<'data> {
    pub(super) data: &'data [u8],
    file: ElfFile<'data, [u8]>,
    segments: Segments<&'data [u8]>,
}

/// What a segment is allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Execute,
    Write,
    Read,
}

/// Bytes with their place in the file and in its address space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'data> {
    pub(super) offset: usize,
    pub(super) address: u64,
    pub(super) bytes: &'data [u8],
}

impl<'data> Image<'data> {
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        let file = ElfFile::parse_64(data)?;
        let segments = file.segments().ok()?;
        Some(Self {
            data,
            file,
            segments,
        })
    }

    /// Is its code for aarch64?
    pub(super) fn is_aarch64(&self) -> bool {
        self.file.header.known_machine() == Some(Machine::Aarch64)
    }

    /// The loaded segments with the bytes that the file has of them.
    pub(super) fn segments(&self) -> impl Iterator<Item = (Access, Part<'data>)> + '_ {
        self.segments.loaded().filter_map(|segment| {
            let access = if segment.allows(elf::PF_X) {
                Access::Execute
            } else if segment.allows(elf::PF_W) {
                Access::Write
            } else {
                Access::Read
            };
            let place = segment.within(self.data.length()).place;
            let part = self.part(place.offset, place.address.0, place.length)?;
            Some((access, part))
        })
    }

    /// Where the file's code and read-only data lie: the first run of segments that are not writable.
    pub(super) fn constants(&self) -> Option<Range<u64>> {
        let mut run: Option<Range<u64>> = None;
        for segment in self.segments.loaded() {
            let start = segment.place.address.0;
            let end = start.checked_add(segment.place.length)?;
            let writable = segment.allows(elf::PF_W);
            run = match run {
                None if writable => None,
                None => Some(start..end),
                // Segments are in order, with nothing but padding to a page between neighbours.
                Some(run) if writable || start < run.end || start - run.end > LARGEST_PAGE => {
                    return Some(run);
                }
                Some(run) => Some(run.start..end),
            };
        }
        run
    }

    /// What the file has from `address` to the end of its segment.
    pub(super) fn at(&self, address: u64) -> Option<Part<'data>> {
        let (offset, left) = self.segments.position(ElfAddress(address))?;
        let rest = self.data.length().checked_sub(offset.0)?;
        let part = self.part(offset, address, left.min(rest))?;
        (!part.bytes.is_empty()).then_some(part)
    }

    /// Is what is at `address` executed?
    pub(super) fn is_code(&self, address: u64) -> bool {
        let length = self.data.length();
        self.segments.loaded().any(|segment| {
            segment.allows(elf::PF_X) && segment.within(length).addresses().contains(&address)
        })
    }

    /// Does the file have section headers?
    pub(super) fn has_sections(&self) -> bool {
        self.file
            .sections()
            .is_some_and(|sections| !sections.is_empty())
    }

    /// The section with this name, if it is loaded from the file.
    pub(super) fn section(&self, name: &str) -> Option<Part<'data>> {
        let section = self.file.sections()?.stored(name)?;
        Some(Part {
            offset: usize::try_from(section.offset.0).ok()?,
            address: section.address.0,
            bytes: self.file.beginning(&section)?,
        })
    }

    /// The address of a symbol in `.symtab`.
    pub(super) fn symbol(&self, name: &[u8]) -> Option<u64> {
        let table = self.file.sections()?.symbols(elf::SHT_SYMTAB)?;
        let found = table.find(self.data, MAX_SYMBOLS, name, |_| true)?;
        Some(found.st_value(LE))
    }

    /// Has a note of this owner (with its final zero)?
    pub(super) fn has_note(&self, owner: &[u8]) -> bool {
        self.file.has_note(&self.segments, owner)
    }

    /// The pointers from `address` on, as far as the file has them.
    pub(super) fn pointers(&self, address: u64, pointers: &mut [u64]) {
        let part = self.at(address);
        let bytes = part.map_or(&[][..], |part| part.bytes);
        for (index, pointer) in pointers.iter_mut().enumerate() {
            *pointer = bytes.word(index as u64 * 8).unwrap_or(0);
        }
        self.relative(|place, addend| {
            let distance = place.wrapping_sub(address);
            let index = usize::try_from(distance / 8).unwrap_or(usize::MAX);
            if distance.is_multiple_of(8)
                && let Some(pointer) = pointers.get_mut(index)
            {
                *pointer = addend;
            }
            ControlFlow::Continue(())
        });
    }

    /// The pointer at `address`.
    pub(super) fn pointer(&self, address: u64) -> u64 {
        let mut pointer = [0];
        self.pointers(address, &mut pointer);
        pointer[0]
    }

    /// Calls `visit` with the relative relocations until it breaks: where, and the address that is put there.
    pub(super) fn relative(&self, mut visit: impl FnMut(u64, u64) -> ControlFlow<()>) {
        let Some(dynamic) = Dynamic::read(&self.file, &self.segments) else {
            return;
        };
        let machine = self.file.header.known_machine();
        let kind = u64::from(relative_kind(machine.unwrap_or(Machine::X86_64)).0);
        dynamic.for_each_relocation(&self.file, &self.segments, |relocation| {
            if relocation.r_info(LE, false) != kind {
                return ControlFlow::Continue(());
            }
            let addend = relocation.r_addend(LE).cast_unsigned();
            visit(relocation.r_offset(LE), addend)
        });
    }

    /// The bytes at a place of the file.
    fn part(&self, offset: FileOffset, address: u64, length: u64) -> Option<Part<'data>> {
        let end = offset.0.checked_add(length)?;
        Some(Part {
            offset: usize::try_from(offset.0).ok()?,
            address,
            bytes: self.data.bytes(offset.0..end)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of nothing but these segments: flags, address, length.
    fn file(segments: &[(u32, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        file[32] = 64; // e_phoff
        file[52] = 64; // e_ehsize
        file[54] = 56; // e_phentsize
        file[56] = segments.len() as u8; // e_phnum
        for (flags, address, length) in segments {
            file.extend(1u32.to_le_bytes()); // PT_LOAD
            file.extend(flags.to_le_bytes());
            for word in [0, *address, *address, *length, *length, 0x1000] {
                file.extend(word.to_le_bytes());
            }
        }
        file
    }

    #[test]
    fn constants_end_where_a_file_may_be_written_or_has_a_gap() {
        let (code, data, read_only) = (5, 6, 4);
        let constants = |segments: &[_]| Image::parse(&file(segments)).unwrap().constants();
        assert_eq!(constants(&[]), None);
        assert_eq!(constants(&[(data, 0, 0x1000)]), None);
        let usual = [
            (code, 0x1000, 0x800),
            (read_only, 0x2000, 0x900),
            (data, 0x3000, 0x100),
        ];
        assert_eq!(constants(&usual), Some(0x1000..0x2900));
        let behind = [
            (data, 0, 0x100),
            (read_only, 0x1000, 0x10),
            (data, 0x2000, 1),
            (read_only, 0x3000, 1),
        ];
        assert_eq!(constants(&behind), Some(0x1000..0x1010));
        // Code that is written to is no constant.
        assert_eq!(
            constants(&[(read_only, 0, 0x10), (7, 0x1000, 0x10)]),
            Some(0..0x10)
        );
        let far = [(read_only, 0, 0x10), (code, LARGEST_PAGE + 0x11, 0x10)];
        assert_eq!(constants(&far), Some(0..0x10));
        let overlapping = [(read_only, 0x1000, 0x1000), (code, 0x1fff, 0x10)];
        assert_eq!(constants(&overlapping), Some(0x1000..0x2000));
        assert_eq!(constants(&[(read_only, u64::MAX, 2)]), None);
    }
}
