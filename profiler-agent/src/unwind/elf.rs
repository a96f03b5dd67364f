//! What tables are built from: machine, loaded segments, and the sections with call frame information.

use std::borrow::Cow;
use std::ops::Range;

use object::elf;

use super::absent::{Absent, Malformed, TooLarge};
pub(super) use crate::elf::Machine;
use crate::elf::source::MAX_PIECE_BYTES;
use crate::elf::symbol::SymbolTable;
use crate::elf::{ElfError, ElfFile, SectionsOf, Segment, Source};
use crate::profile::ElfAddress;

/// Most bytes of one section with call frame information, stored and decompressed: a table from more
/// would be beyond any budget.
const MAX_SECTION_BYTES: u64 = MAX_PIECE_BYTES;

impl Machine {
    /// Whose call frame instructions the files of this machine may hold beside DWARF's: those of
    /// aarch64 state where return addresses are signed (`-mbranch-protection`).
    pub(super) const fn vendor(self) -> gimli::Vendor {
        match self {
            Self::X86_64 => gimli::Vendor::Default,
            Self::Aarch64 => gimli::Vendor::AArch64,
        }
    }
}

/// Bytes with the address that they are loaded at.
#[derive(Debug)]
pub(super) struct Placed<'s> {
    pub(super) address: u64,
    pub(super) bytes: Cow<'s, [u8]>,
}

/// A procedure linkage table.
#[derive(Debug)]
pub(super) struct Linkage {
    pub(super) address: u64,
    /// Bytes.
    pub(super) length: u32,
    /// Do its entries push a number for the resolver? (`.plt`, as opposed to `.plt.sec` and
    /// `.plt.got`)
    pub(super) lazy: bool,
    /// Its first four bytes.
    pub(super) start: [u8; 4],
}

/// What a file is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Whole,
    Page,
    Layout,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Image<'s> {
    pub(super) machine: Machine,
    /// Loaded segments, as far as they are in the file.
    pub(super) loads: Vec<Segment>,
    /// `.eh_frame`, by section header.
    pub(super) eh_frame: Option<Placed<'s>>,
    /// The segment `PT_GNU_EH_FRAME`; for a whole file only where there is no `.eh_frame` by section header.
    pub(super) eh_frame_header: Option<Placed<'s>>,
    /// `.debug_frame`, or `.zdebug_frame`; decompressed.
    pub(super) debug_frame: Option<Placed<'s>>,
    /// Is there a `.debug_frame`, or `.zdebug_frame`?
    has_debug_frame: bool,
    /// Procedure linkage tables.
    pub(super) linkage: Vec<Linkage>,
    /// Address of `.text`, for pointers relative to it.
    pub(super) text: Option<u64>,
    /// `.symtab`, else `.dynsym`.
    pub(super) symbols: Option<SymbolTable>,
    /// `.rela.dyn`, as positions in the file.
    pub(super) relocations: Option<Range<u64>>,
    /// Where the program starts; 0 when nowhere.
    pub(super) entry: u64,
}

impl From<ElfError> for Absent {
    fn from(error: ElfError) -> Self {
        match error {
            ElfError::NotElf => Self::NotElf,
            ElfError::WrongClass => Self::WrongClass,
            ElfError::ShortHeader => Self::Malformed(Malformed::Header),
            ElfError::ProgramHeaders => Self::Malformed(Malformed::Segments),
        }
    }
}

impl<'s> Image<'s> {
    /// Reads what a table of a whole file is built from.
    pub(super) fn parse<S: Source + ?Sized>(source: &'s S) -> Result<Self, Absent> {
        Self::parse_for(source, Purpose::Whole)
    }

    /// Reads where the code is.
    pub(super) fn parse_for_layout<S: Source + ?Sized>(source: &'s S) -> Result<Self, Absent> {
        Self::parse_for(source, Purpose::Layout)
    }

    /// Reads what the table of a page is built from; `None` where that takes the whole file.
    pub(super) fn parse_for_page<S: Source + ?Sized>(
        source: &'s S,
    ) -> Result<Option<Self>, Absent> {
        let image = Self::parse_for(source, Purpose::Page)?;
        let complete = image.eh_frame.is_some() && image.eh_frame_header.is_some();
        Ok(Some(image).filter(|image| complete && !image.has_debug_frame))
    }

    fn parse_for<S: Source + ?Sized>(source: &'s S, purpose: Purpose) -> Result<Self, Absent> {
        let file = ElfFile::parse(source)?;
        let header = file.header;
        if !header.is_64() {
            return Err(Absent::WrongClass);
        }
        let machine = header
            .known_machine()
            .ok_or(Absent::WrongMachine(header.machine.0))?;
        if header.kind != elf::ET_EXEC && header.kind != elf::ET_DYN {
            return Err(Absent::NotLinked);
        }
        let segments = file.segments()?;
        let length = source.length();
        let loads = segments.loaded().map(|segment| segment.within(length));
        let loads = loads.collect();
        let eh_frame_segment = segments
            .last(elf::PT_GNU_EH_FRAME)
            .map(|segment| segment.within(length).place);
        let sections = file.sections();
        let sections = sections.as_ref();
        let named = |name| sections.and_then(|sections| sections.named(name));
        let content = |name| match sections {
            Some(sections) => content(source, sections, name),
            None => Ok(None),
        };
        let eh_frame = match purpose {
            Purpose::Layout => None,
            Purpose::Whole | Purpose::Page => content(".eh_frame")?,
        };
        let eh_frame_header = match (&eh_frame, eh_frame_segment) {
            (Some(_), Some(_)) if purpose == Purpose::Whole => None,
            (_, Some(place)) if purpose != Purpose::Layout => {
                let length = place.length.min(MAX_SECTION_BYTES);
                placed(source, place.address, place.offset.0, length)
            }
            _ => None,
        };
        Ok(Self {
            machine,
            loads,
            eh_frame,
            eh_frame_header,
            debug_frame: match purpose {
                Purpose::Page | Purpose::Layout => None,
                Purpose::Whole => content(".debug_frame")?,
            },
            has_debug_frame: sections
                .is_some_and(|sections| sections.stored(".debug_frame").is_some()),
            linkage: [(".plt", true), (".plt.sec", false), (".plt.got", false)]
                .into_iter()
                .filter_map(|(name, lazy)| {
                    let section = named(name)?;
                    Some(Linkage {
                        address: section.address.0,
                        length: u32::try_from(section.length).ok()?,
                        lazy,
                        start: source.array(section.offset.0)?,
                    })
                })
                .collect(),
            text: named(".text").map(|section| section.address.0),
            symbols: sections.and_then(|sections| {
                let symbols = sections.symbols(elf::SHT_SYMTAB);
                symbols.or_else(|| sections.symbols(elf::SHT_DYNSYM))
            }),
            relocations: named(".rela.dyn").and_then(|section| section.range()),
            entry: header.entry.0,
        })
    }

    /// Up to `length` bytes of code at `address`.
    pub(super) fn code<S: Source + ?Sized>(
        &self,
        source: &'s S,
        address: u64,
        length: u64,
    ) -> Option<Cow<'s, [u8]>> {
        let load = self
            .loads
            .iter()
            .find(|load| load.allows(elf::PF_X) && load.addresses().contains(&address))?;
        let (start, left) = load.position(ElfAddress(address))?;
        let end = start.0.checked_add(length.min(left))?;
        Some(source.bytes(start.0..end)?.into())
    }

    /// `length` bytes at `address`.
    pub(super) fn loaded_bytes<S: Source + ?Sized>(
        &self,
        source: &S,
        address: u64,
        length: u64,
    ) -> Option<Vec<u8>> {
        let (start, _) = self.loads.iter().find_map(|load| {
            let found = load.position(ElfAddress(address))?;
            (length <= found.1).then_some(found)
        })?;
        let bytes = source.bytes(start.0..start.0.checked_add(length)?)?;
        let bytes: Cow<'_, [u8]> = bytes.into();
        Some(bytes.into_owned())
    }

    /// The rest of the segment that `address` lies in, as far as it is in the file.
    pub(super) fn loaded_from<S: Source + ?Sized>(
        &self,
        source: &'s S,
        address: u64,
    ) -> Option<Placed<'s>> {
        let address = ElfAddress(address);
        let (start, left) = self.loads.iter().find_map(|load| load.position(address))?;
        placed(source, address, start.0, left.min(MAX_SECTION_BYTES))
    }
}

fn placed<S: Source + ?Sized>(
    source: &S,
    address: ElfAddress,
    start: u64,
    length: u64,
) -> Option<Placed<'_>> {
    Some(Placed {
        address: address.0,
        bytes: source.bytes(start..start.checked_add(length)?)?.into(),
    })
}

/// What the section `name` holds, decompressed; `None` when it is not there, empty, not in the
/// file, or compressed in a way that cannot be read.
fn content<'s, S: Source + ?Sized>(
    source: &'s S,
    sections: &SectionsOf<'s, S>,
    name: &str,
) -> Result<Option<Placed<'s>>, Absent> {
    const TOO_LARGE: Absent = Absent::TooLarge(TooLarge::Section);
    let Some(section) = sections.stored(name).filter(|found| found.length > 0) else {
        return Ok(None);
    };
    if section.length > MAX_SECTION_BYTES && section.length <= source.length() {
        return Err(TOO_LARGE);
    }
    // Asked for with its bound: the file may have grown since.
    let Some(content) = sections.content_within(&section, MAX_SECTION_BYTES) else {
        return Ok(None);
    };
    let bytes = if !content.is_compressed() {
        Some(content.into_stored().into())
    } else if content.size() > MAX_SECTION_BYTES {
        return Err(TOO_LARGE);
    } else {
        content.decompress(MAX_SECTION_BYTES).map(Cow::Owned)
    };
    let address = section.address.0;
    Ok(bytes.map(|bytes| Placed { address, bytes }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::elf::ReadAt;

    /// A file that grows behind what its length was when asked for; notes the largest piece that is asked for.
    #[derive(Debug)]
    struct Growing {
        bytes: Vec<u8>,
        largest: Cell<u64>,
    }

    impl ReadAt for Growing {
        fn read(&self, at: u64, into: &mut [u8]) -> bool {
            self.bytes.read(at, into)
        }
    }

    impl Source for Growing {
        type Bytes<'s> = Vec<u8>;

        fn length(&self) -> u64 {
            self.bytes.length()
        }
        fn bytes(&self, range: Range<u64>) -> Option<Vec<u8>> {
            let length = range.end.checked_sub(range.start)?;
            self.largest.set(self.largest.get().max(length));
            self.bytes.bytes(range).map(<[u8]>::to_vec)
        }
    }

    #[test]
    fn a_section_of_a_file_that_grows_is_read_within_its_bound() {
        let mut bytes = std::fs::read("/bin/true").unwrap();
        let file = ElfFile::parse(&bytes).unwrap();
        let sections = file.sections().unwrap();
        let index = sections.iter().position(|section| {
            let found = sections.stored(".eh_frame").unwrap();
            section.offset == found.offset && section.length == found.length
        });
        let table = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
        let length = table + 64 * index.unwrap() + 32;
        bytes[length..length + 8].copy_from_slice(&(MAX_SECTION_BYTES + 1).to_le_bytes());
        let source = Growing {
            bytes,
            largest: Cell::new(0),
        };
        let image = Image::parse(&source).unwrap();
        assert!(image.eh_frame.is_none() && !image.loads.is_empty());
        assert!(source.largest.get() > 0 && source.largest.get() <= MAX_SECTION_BYTES);
    }
}
