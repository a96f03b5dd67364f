//! The parts of an ELF file that lead to a line table.
//!
//! A pointer of a position-independent file is an addend in its relocations. Go's own linker writes it
//! at the pointer's place too, the GNU linker leaves zeros there on x86-64; so relocations come first.

use std::ops::Range;

use object::LittleEndian;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64, Rela64, SectionHeader64, Sym64};
use object::pod;
use object::read::elf::{FileHeader as _, SectionHeader as _, SectionTable, Sym as _};

const LE: LittleEndian = LittleEndian;
/// Segments and sections of a file. Linked programs have some tens.
const MAX_SEGMENTS: usize = 1_170;
const MAX_SECTIONS: usize = 1 << 14;
/// Bytes of notes of a segment.
const MAX_NOTES: usize = 64 << 10;
/// Symbols and relocations that are looked at.
const MAX_ENTRIES: usize = 4 << 20;
/// The largest page that segments are aligned to.
const LARGEST_PAGE: u64 = 2 << 20;

/// A little-endian 64-bit ELF file in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image<'data> {
    pub(super) data: &'data [u8],
    header: &'data FileHeader64<LittleEndian>,
    segments: &'data [ProgramHeader64<LittleEndian>],
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
        let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
        header.endian().ok()?;
        let segments = header.program_headers(LE, data).ok()?;
        Some(Self {
            data,
            header,
            segments: &segments[..segments.len().min(MAX_SEGMENTS)],
        })
    }

    /// The machine that its code is for.
    pub(super) fn machine(&self) -> elf::Machine {
        self.header.e_machine.get(LE)
    }

    /// The loaded segments with the bytes that the file has of them.
    pub(super) fn segments(&self) -> impl Iterator<Item = (Access, Part<'data>)> + '_ {
        self.segments.iter().filter_map(|segment| {
            if segment.p_type.get(LE) != elf::PT_LOAD {
                return None;
            }
            let part = self.part(
                segment.p_offset.get(LE),
                segment.p_vaddr.get(LE),
                segment.p_filesz.get(LE),
            )?;
            let flags = segment.p_flags.get(LE);
            let access = if flags.0 & elf::PF_X.0 != 0 {
                Access::Execute
            } else if flags.0 & elf::PF_W.0 != 0 {
                Access::Write
            } else {
                Access::Read
            };
            Some((access, part))
        })
    }

    /// Where the file's code and read-only data lie: the first run of segments that are not writable.
    pub(super) fn constants(&self) -> Option<Range<u64>> {
        let mut run: Option<Range<u64>> = None;
        for segment in self.segments {
            if segment.p_type.get(LE) != elf::PT_LOAD {
                continue;
            }
            let start = segment.p_vaddr.get(LE);
            let end = start.checked_add(segment.p_filesz.get(LE))?;
            let writable = segment.p_flags.get(LE).0 & elf::PF_W.0 != 0;
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
        self.segments().find_map(|(_, segment)| {
            let skipped = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            let bytes = segment.bytes.get(skipped..)?;
            (!bytes.is_empty()).then_some(Part {
                offset: segment.offset + skipped,
                address,
                bytes,
            })
        })
    }

    /// Is what is at `address` executed?
    pub(super) fn is_code(&self, address: u64) -> bool {
        self.segments().any(|(access, segment)| {
            access == Access::Execute
                && address.wrapping_sub(segment.address) < segment.bytes.len() as u64
        })
    }

    /// Does the file have section headers?
    pub(super) fn has_sections(&self) -> bool {
        self.sections().is_some_and(|sections| !sections.is_empty())
    }

    /// The section with this name, if it is loaded from the file.
    pub(super) fn section(&self, name: &str) -> Option<Part<'data>> {
        let sections = self.sections()?;
        let strings = u32::from(self.header.e_shstrndx.get(LE).0);
        let strings = self.bytes_of(nth(&sections, strings)?)?;
        let section = sections.iter().find(|section| {
            section.sh_type(LE) != elf::SHT_NOBITS
                && is_text(strings, section.sh_name.get(LE), name.as_bytes())
        })?;
        self.part(
            section.sh_offset.get(LE),
            section.sh_addr.get(LE),
            section.sh_size.get(LE),
        )
    }

    /// The address of a symbol in `.symtab`.
    pub(super) fn symbol(&self, name: &[u8]) -> Option<u64> {
        let sections = self.sections()?;
        let table = sections
            .iter()
            .find(|section| section.sh_type(LE) == elf::SHT_SYMTAB)?;
        let strings = self.bytes_of(nth(&sections, table.sh_link(LE))?)?;
        let bytes = self.bytes_of(table)?;
        let count = bytes.len() / size_of::<Sym64<LittleEndian>>();
        let (symbols, _) = pod::slice_from_bytes::<Sym64<LittleEndian>>(bytes, count).ok()?;
        let found = symbols
            .iter()
            .take(MAX_ENTRIES)
            .find(|symbol| is_text(strings, symbol.st_name(LE), name))?;
        Some(found.st_value(LE))
    }

    /// Has a note of this owner (four bytes)?
    pub(super) fn has_note(&self, owner: [u8; 4]) -> bool {
        self.segments.iter().any(|segment| {
            if segment.p_type.get(LE) != elf::PT_NOTE {
                return false;
            }
            let part = self.part(
                segment.p_offset.get(LE),
                segment.p_vaddr.get(LE),
                segment.p_filesz.get(LE),
            );
            // A header: name size, description size, kind; each note padded to 4 bytes.
            let mut rest = part.map_or(&[][..], |part| part.bytes);
            rest = &rest[..rest.len().min(MAX_NOTES)];
            while let (Some(name), Some(description)) = (u32_at(rest, 0), u32_at(rest, 4)) {
                if name == 4 && rest.get(12..16) == Some(&owner[..]) {
                    return true;
                }
                let padded = |length: u32| (length as usize).next_multiple_of(4);
                rest = rest
                    .get(12 + padded(name) + padded(description)..)
                    .unwrap_or(&[]);
            }
            false
        })
    }

    /// The pointers from `address` on, as far as the file has them.
    pub(super) fn pointers(&self, address: u64, pointers: &mut [u64]) {
        let part = self.at(address);
        let bytes = part.map_or(&[][..], |part| part.bytes);
        for (index, pointer) in pointers.iter_mut().enumerate() {
            *pointer = u64_at(bytes, index * 8).unwrap_or(0);
        }
        for (place, addend) in self.relative() {
            let distance = place.wrapping_sub(address);
            let index = usize::try_from(distance / 8).unwrap_or(usize::MAX);
            if distance.is_multiple_of(8)
                && let Some(pointer) = pointers.get_mut(index)
            {
                *pointer = addend;
            }
        }
    }

    /// The pointer at `address`.
    pub(super) fn pointer(&self, address: u64) -> u64 {
        let mut pointer = [0];
        self.pointers(address, &mut pointer);
        pointer[0]
    }

    /// Relative relocations: where, and the address that is put there.
    pub(super) fn relative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let kind = match self.machine() {
            elf::EM_AARCH64 => elf::R_AARCH64_RELATIVE.0,
            _ => elf::R_X86_64_RELATIVE.0,
        };
        let relocations = self.relocations().iter().take(MAX_ENTRIES);
        relocations
            .filter(move |relocation| relocation.r_info.get(LE) == u64::from(kind))
            .map(|relocation| {
                let addend = relocation.r_addend.get(LE).cast_unsigned();
                (relocation.r_offset.get(LE), addend)
            })
    }

    fn relocations(&self) -> &'data [Rela64<LittleEndian>] {
        let read = || {
            let dynamic = self
                .segments
                .iter()
                .find(|segment| segment.p_type.get(LE) == elf::PT_DYNAMIC)?;
            let dynamic = self.part(
                dynamic.p_offset.get(LE),
                dynamic.p_vaddr.get(LE),
                dynamic.p_filesz.get(LE),
            )?;
            let count = dynamic.bytes.len() / size_of::<Dyn64<LittleEndian>>();
            let (entries, _) =
                pod::slice_from_bytes::<Dyn64<LittleEndian>>(dynamic.bytes, count).ok()?;
            let value = |tag| {
                let entry = entries.iter().find(|entry| entry.d_tag.get(LE) == tag);
                entry.map(|entry| entry.d_val.get(LE))
            };
            let start = self.at(value(elf::DT_RELA)?)?.bytes;
            let length = usize::try_from(value(elf::DT_RELASZ)?).ok()?;
            let bytes = &start[..length.min(start.len())];
            let count = bytes.len() / size_of::<Rela64<LittleEndian>>();
            let (entries, _) = pod::slice_from_bytes::<Rela64<LittleEndian>>(bytes, count).ok()?;
            Some(entries)
        };
        read().unwrap_or(&[])
    }

    fn sections(&self) -> Option<SectionTable<'data, FileHeader64<LittleEndian>>> {
        let headers = self.header.section_headers(LE, self.data).ok()?;
        let sections = self.header.sections(LE, self.data).ok()?;
        (headers.len() <= MAX_SECTIONS).then_some(sections)
    }

    fn bytes_of(&self, section: &SectionHeader64<LittleEndian>) -> Option<&'data [u8]> {
        section.data(LE, self.data).ok()
    }

    fn part(&self, offset: u64, address: u64, length: u64) -> Option<Part<'data>> {
        let offset = usize::try_from(offset).ok()?;
        let length = usize::try_from(length).ok()?;
        let rest = self.data.get(offset..)?;
        Some(Part {
            offset,
            address,
            bytes: &rest[..length.min(rest.len())],
        })
    }
}

fn nth<'data>(
    sections: &SectionTable<'data, FileHeader64<LittleEndian>>,
    index: u32,
) -> Option<&'data SectionHeader64<LittleEndian>> {
    sections.iter().nth(usize::try_from(index).ok()?)
}

/// Is this the zero-terminated text at `offset`? Looks at no more than is needed to tell.
fn is_text(strings: &[u8], offset: u32, text: &[u8]) -> bool {
    let found = strings.get(offset as usize..);
    let rest = found.and_then(|found| found.strip_prefix(text));
    rest.is_some_and(|rest| rest.first() == Some(&0))
}

/// The 32-bit number at `offset`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let number = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*number))
}

/// The signed 32-bit number at `offset`.
pub(super) fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    Some(u32_at(bytes, offset)?.cast_signed())
}

/// The 64-bit number at `offset`.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let number = bytes.get(offset..)?.first_chunk()?;
    Some(u64::from_le_bytes(*number))
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
