//! The parts of an ELF file that matter here (System V ABI, chapters 4 and 5): machine, loaded
//! segments, and the sections with call frame information.

use std::borrow::Cow;
use std::ops::Range;

use object::elf;

use super::absent::{Absent, Malformed, TooLarge};
use super::compressed::Compressed;
use super::source::Source;

/// Most bytes of one section with call frame information: a table from more would be
/// beyond any budget.
const MAX_SECTION_BYTES: u64 = 64 << 20;
/// Most section headers; `e_shnum` of 0xffff and more is not followed.
const MAX_SECTION_HEADERS: u64 = 0xff00;
/// Most bytes of section names.
const MAX_NAME_BYTES: u64 = 4 << 20;

/// `.debug_frame` as it was compressed before there was a flag for it.
const ZDEBUG_FRAME: &[u8] = b".zdebug_frame";

/// A machine that tables are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

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

/// A `PT_LOAD` segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Where it starts in the file's address space.
    pub(super) address: u64,
    /// Where it starts in the file.
    pub(super) offset: u64,
    /// Bytes of it that are in the file.
    pub(super) length: u64,
    pub(super) executable: bool,
}

impl Load {
    pub(super) fn end(&self) -> u64 {
        self.address.saturating_add(self.length)
    }
}

/// Bytes with the address that they are loaded at.
#[derive(Debug)]
pub(super) struct Section<'s> {
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

/// A symbol table and its names, as positions in the file.
#[derive(Debug)]
pub(super) struct SymbolTable {
    pub(super) offset: u64,
    /// Bytes.
    pub(super) length: u64,
    pub(super) names: Range<u64>,
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
    pub(super) loads: Vec<Load>,
    /// `.eh_frame`, by section header.
    pub(super) eh_frame: Option<Section<'s>>,
    /// The segment `PT_GNU_EH_FRAME`; for a whole file only where there is no `.eh_frame` by section header.
    pub(super) eh_frame_header: Option<Section<'s>>,
    /// `.debug_frame`, or `.zdebug_frame`; decompressed.
    pub(super) debug_frame: Option<Section<'s>>,
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

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Reads `count` structures of `size` bytes at `offset`.
fn table<S: Source + ?Sized>(
    source: &S,
    offset: u64,
    count: u64,
    size: u64,
) -> Option<Cow<'_, [u8]>> {
    source.bytes(offset..offset.checked_add(count.checked_mul(size)?)?)
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
        let magic = source.bytes(0..4).ok_or(Absent::NotElf)?;
        if *magic != elf::ELFMAG {
            return Err(Absent::NotElf);
        }
        let malformed = Absent::Malformed(Malformed::Header);
        let header = source.bytes(0..64).ok_or(malformed)?;
        if header[4] != elf::ELFCLASS64.0 || header[5] != elf::ELFDATA2LSB.0 {
            return Err(Absent::WrongClass);
        }
        let machine = match u16_at(&header, 18).ok_or(malformed)? {
            number if number == elf::EM_X86_64.0 => Machine::X86_64,
            number if number == elf::EM_AARCH64.0 => Machine::Aarch64,
            number => return Err(Absent::WrongMachine(number)),
        };
        let kind = u16_at(&header, 16).ok_or(malformed)?;
        if kind != elf::ET_EXEC.0 && kind != elf::ET_DYN.0 {
            return Err(Absent::NotLinked);
        }

        let (loads, eh_frame_segment) = segments(source, &header)?;
        let sections = Sections::read(source, &header);
        let eh_frame = match purpose {
            Purpose::Layout => None,
            Purpose::Whole | Purpose::Page => sections.section(source, b".eh_frame")?,
        };
        let eh_frame_header = match (&eh_frame, eh_frame_segment) {
            (Some(_), Some(_)) if purpose == Purpose::Whole => None,
            (_, Some(load)) if purpose != Purpose::Layout => {
                let length = load.length.min(MAX_SECTION_BYTES);
                source
                    .bytes(load.offset..load.offset.saturating_add(length))
                    .map(|bytes| Section {
                        address: load.address,
                        bytes,
                    })
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
                Purpose::Whole => match sections.section(source, b".debug_frame")? {
                    None => sections.section(source, ZDEBUG_FRAME)?,
                    found => found,
                },
            },
            has_debug_frame: sections.find(b".debug_frame").is_some()
                || sections.find(ZDEBUG_FRAME).is_some(),
            linkage: [
                (b".plt".as_slice(), true),
                (b".plt.sec", false),
                (b".plt.got", false),
            ]
            .into_iter()
            .filter_map(|(name, lazy)| sections.linkage(source, name, lazy))
            .collect(),
            text: sections
                .find(b".text")
                .and_then(|header| u64_at(header, 16)),
            symbols: sections
                .symbols(b".symtab", b".strtab")
                .or_else(|| sections.symbols(b".dynsym", b".dynstr")),
            relocations: sections.place(b".rela.dyn"),
            entry: u64_at(&header, 24).ok_or(malformed)?,
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
            .find(|load| load.executable && load.address <= address && address < load.end())?;
        let start = load.offset.checked_add(address - load.address)?;
        let length = length.min(load.end() - address);
        source.bytes(start..start.checked_add(length)?)
    }

    /// `length` bytes at `address`.
    pub(super) fn loaded_bytes<S: Source + ?Sized>(
        &self,
        source: &S,
        address: u64,
        length: u64,
    ) -> Option<Vec<u8>> {
        let end = address.checked_add(length)?;
        let load = self
            .loads
            .iter()
            .find(|load| load.address <= address && end <= load.end())?;
        let start = load.offset.checked_add(address - load.address)?;
        let bytes = source.bytes(start..start.checked_add(length)?)?;
        Some(bytes.into_owned())
    }

    /// The rest of the segment that `address` lies in, as far as it is in the file.
    pub(super) fn loaded_from<S: Source + ?Sized>(
        &self,
        source: &'s S,
        address: u64,
    ) -> Option<Section<'s>> {
        let load = self
            .loads
            .iter()
            .find(|load| load.address <= address && address < load.end())?;
        let within = address - load.address;
        let length = (load.length - within).min(MAX_SECTION_BYTES);
        let start = load.offset.checked_add(within)?;
        Some(Section {
            address,
            bytes: source.bytes(start..start.checked_add(length)?)?,
        })
    }
}

/// The loaded segments, and `PT_GNU_EH_FRAME`. Lengths are cut to what is in the file.
fn segments<S: Source + ?Sized>(
    source: &S,
    header: &[u8],
) -> Result<(Vec<Load>, Option<Load>), Absent> {
    let read = || {
        let offset = u64_at(header, 32)?;
        let size = u16_at(header, 54)?;
        let count = u16_at(header, 56)?;
        if size != 56 {
            return None;
        }
        table(source, offset, u64::from(count), 56)
    };
    let headers = read().ok_or(Absent::Malformed(Malformed::Segments))?;
    let mut loads = Vec::new();
    let mut eh_frame = None;
    for header in headers.chunks_exact(56) {
        let fields = (
            u32_at(header, 0),
            u32_at(header, 4),
            u64_at(header, 8),
            u64_at(header, 16),
            u64_at(header, 32),
        );
        let (Some(kind), Some(flags), Some(offset), Some(address), Some(length)) = fields else {
            continue;
        };
        let load = Load {
            address,
            offset,
            length: length.min(source.length().saturating_sub(offset)),
            executable: flags & elf::PF_X.0 != 0,
        };
        if kind == elf::PT_LOAD.0 {
            loads.push(load);
        } else if kind == elf::PT_GNU_EH_FRAME.0 {
            eh_frame = Some(load);
        }
    }
    Ok((loads, eh_frame))
}

/// Section headers and their names; empty where there are none that can be read.
struct Sections<'s> {
    headers: Cow<'s, [u8]>,
    names: Cow<'s, [u8]>,
}

impl<'s> Sections<'s> {
    fn read<S: Source + ?Sized>(source: &'s S, header: &[u8]) -> Self {
        Self::try_read(source, header).unwrap_or(Self {
            headers: Cow::Borrowed(&[]),
            names: Cow::Borrowed(&[]),
        })
    }

    fn try_read<S: Source + ?Sized>(source: &'s S, header: &[u8]) -> Option<Self> {
        let offset = u64_at(header, 40)?;
        let size = u16_at(header, 58)?;
        let count = u64::from(u16_at(header, 60)?);
        let names_index = usize::from(u16_at(header, 62)?);
        if offset == 0 || size != 64 || count > MAX_SECTION_HEADERS {
            return None;
        }
        let headers = table(source, offset, count, 64)?;
        let names = headers.chunks_exact(64).nth(names_index)?;
        let names_offset = u64_at(names, 24)?;
        let names_length = u64_at(names, 32)?;
        if names_length > MAX_NAME_BYTES {
            return None;
        }
        let names = source.bytes(names_offset..names_offset.checked_add(names_length)?)?;
        Some(Self { headers, names })
    }

    fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.chunks_exact(64).find(|header| {
            let start = u32_at(header, 0).map_or(usize::MAX, |start| start as usize);
            self.names
                .get(start..)
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest.first() == Some(&0))
        })
    }

    /// Where a section lies in the file.
    fn place(&self, name: &[u8]) -> Option<Range<u64>> {
        let header = self.find(name)?;
        let offset = u64_at(header, 24)?;
        Some(offset..offset.checked_add(u64_at(header, 32)?)?)
    }

    fn symbols(&self, name: &[u8], names: &[u8]) -> Option<SymbolTable> {
        let symbols = self.place(name)?;
        Some(SymbolTable {
            offset: symbols.start,
            length: symbols.end - symbols.start,
            names: self.place(names)?,
        })
    }

    fn linkage<S: Source + ?Sized>(&self, source: &S, name: &[u8], lazy: bool) -> Option<Linkage> {
        let header = self.find(name)?;
        let offset = u64_at(header, 24)?;
        let start = source.bytes(offset..offset.checked_add(4)?)?;
        Some(Linkage {
            address: u64_at(header, 16)?,
            length: u32::try_from(u64_at(header, 32)?).ok()?,
            lazy,
            start: *start.first_chunk()?,
        })
    }

    /// The section `name` with its bytes, decompressed; `None` when it is not there, empty, not in the
    /// file, or compressed in a way that cannot be read.
    fn section<S: Source + ?Sized>(
        &self,
        source: &'s S,
        name: &[u8],
    ) -> Result<Option<Section<'s>>, Absent> {
        let Some(header) = self.find(name) else {
            return Ok(None);
        };
        let fields = (
            u32_at(header, 4),
            u64_at(header, 8),
            u64_at(header, 16),
            u64_at(header, 24),
            u64_at(header, 32),
        );
        let (Some(kind), Some(flags), Some(address), Some(offset), Some(length)) = fields else {
            return Ok(None);
        };
        if kind == elf::SHT_NOBITS.0 || length == 0 {
            return Ok(None);
        }
        if length > MAX_SECTION_BYTES && length <= source.length() {
            return Err(Absent::TooLarge(TooLarge::Section));
        }
        let stored = offset
            .checked_add(length)
            .and_then(|end| source.bytes(offset..end));
        let Some(stored) = stored else {
            return Ok(None);
        };
        let compressed = if flags & elf::SHF_COMPRESSED.0 != 0 {
            Compressed::flagged(&stored)
        } else if name == ZDEBUG_FRAME {
            Compressed::named(&stored)
        } else {
            return Ok(Some(Section {
                address,
                bytes: stored,
            }));
        };
        let Some(compressed) = compressed else {
            return Ok(None);
        };
        if compressed.size > MAX_SECTION_BYTES {
            return Err(Absent::TooLarge(TooLarge::Section));
        }
        Ok(compressed
            .decompress(MAX_SECTION_BYTES)
            .map(|bytes| Section {
                address,
                bytes: Cow::Owned(bytes),
            }))
    }
}
