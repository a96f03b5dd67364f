//! Section headers: what linkers and debuggers find the parts of a file by.

use object::LittleEndian as LE;
use object::elf::{self, SectionHeader32, SectionHeader64};
use object::read::elf::SectionHeader;

use super::compressed::{Content, Packing};
use super::header::Class;
use super::note;
use super::source::Source;
use super::structures;
use super::symbol::SymbolTable;
use crate::profile::{BuildId, ElfAddress, FileOffset};

/// Bytes of one section with notes that are looked at.
pub(super) const MAX_NOTE_BYTES: u64 = 64 << 10;

/// A section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    name: u32,
    /// `sh_type`.
    pub kind: elf::SectionType,
    /// `sh_flags`.
    pub flags: elf::SectionFlags,
    /// Where it is loaded; 0 when it is not.
    pub address: ElfAddress,
    /// Where it lies in the file.
    pub offset: FileOffset,
    /// Bytes, in the file and in memory.
    pub length: u64,
    /// Number of the section that belongs to it: the names of a table's symbols, say.
    pub link: u32,
    /// What its address is a multiple of.
    pub align: u64,
    /// Bytes of one entry, where it is a table.
    pub entry_length: u64,
    packing: Packing,
}

impl Section {
    fn of<H: SectionHeader<Endian = LE>>(header: &H) -> Self {
        let flags = header.sh_flags(LE);
        Self {
            name: header.sh_name(LE),
            kind: header.sh_type(LE),
            flags,
            address: ElfAddress(header.sh_addr(LE).into()),
            offset: FileOffset(header.sh_offset(LE).into()),
            length: header.sh_size(LE).into(),
            link: header.sh_link(LE),
            align: header.sh_addralign(LE).into(),
            entry_length: header.sh_entsize(LE).into(),
            packing: if flags.0 & elf::SHF_COMPRESSED.0 == 0 {
                Packing::Plain
            } else {
                Packing::Flagged
            },
        }
    }

    /// Has it bytes in the file?
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.kind != elf::SHT_NOBITS
    }

    /// Where they are; `None` when they would end behind every file.
    #[must_use]
    pub fn range(&self) -> Option<std::ops::Range<u64>> {
        let start = self.offset.0;
        Some(start..start.checked_add(self.length)?)
    }

    /// Is `address` in it?
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        let start = self.address.0;
        (start..start.saturating_add(self.length)).contains(&address)
    }
}

/// The section headers of a file, whose bytes come as `B`.
#[derive(Debug)]
pub struct Sections<'s, S: ?Sized, B> {
    pub(super) source: &'s S,
    pub(super) class: Class,
    pub(super) headers: B,
    /// The sections' names; empty where they were not read.
    pub(super) names: B,
}

/// The section headers of a source.
pub type SectionsOf<'s, S> = Sections<'s, S, <S as Source>::Bytes<'s>>;

impl<'s, S: Source + ?Sized> SectionsOf<'s, S> {
    /// Bytes of one header.
    pub(super) const fn header_bytes(class: Class) -> usize {
        match class {
            Class::Bits32 => size_of::<SectionHeader32<LE>>(),
            Class::Bits64 => size_of::<SectionHeader64<LE>>(),
        }
    }

    /// The section with this number.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Section> {
        match self.class {
            Class::Bits32 => structures::<SectionHeader32<LE>>(&self.headers)
                .get(index)
                .map(Section::of),
            Class::Bits64 => structures::<SectionHeader64<LE>>(&self.headers)
                .get(index)
                .map(Section::of),
        }
    }

    /// All sections, in the order of their headers.
    pub fn iter(&self) -> impl Iterator<Item = Section> + '_ {
        (0..).map_while(|index| self.get(index))
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// Does the section's name begin so? No name is searched for its end: it may have none.
    #[must_use]
    pub fn begins(&self, section: &Section, beginning: &[u8]) -> bool {
        let name = self.names.get(section.name as usize..);
        name.is_some_and(|name| name.starts_with(beginning))
    }

    fn is_named(&self, section: &Section, name: &[u8]) -> bool {
        let found = self.names.get(section.name as usize..);
        let rest = found.and_then(|found| found.strip_prefix(name));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The section with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Section> {
        self.iter()
            .find(|section| self.is_named(section, name.as_bytes()))
    }

    /// The section with this name that has bytes in the file. Debug information that an older linker compressed has another
    /// name: `.zdebug_info`.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<Section> {
        let find = |name: &[u8]| {
            self.iter()
                .find(|section| section.is_stored() && self.is_named(section, name))
        };
        find(name.as_bytes()).or_else(|| {
            let rest = name.strip_prefix(".debug_")?;
            let found = find(format!(".zdebug_{rest}").as_bytes())?;
            Some(Section {
                packing: Packing::Named,
                ..found
            })
        })
    }

    /// The bytes of a section as the file has them; `None` when it has none, not all, or more than `most`.
    #[must_use]
    pub fn bytes_within(&self, section: &Section, most: u64) -> Option<S::Bytes<'s>> {
        let range = section.is_stored().then(|| section.range())??;
        (section.length <= most).then(|| self.source.bytes(range))?
    }

    /// What a section holds; `None` when it is not all in the file, is stored in more than `most` bytes, or its compression
    /// has no header.
    #[must_use]
    pub fn content_within(&self, section: &Section, most: u64) -> Option<Content<S::Bytes<'s>>> {
        Content::of(section.packing, self.bytes_within(section, most)?)
    }

    /// The symbols of the first table of this type (`SHT_SYMTAB`, `SHT_DYNSYM`).
    #[must_use]
    pub fn symbols(&self, kind: elf::SectionType) -> Option<SymbolTable> {
        self.symbol_table(&self.iter().find(|section| section.kind == kind)?)
    }

    /// The symbols of the section with this number.
    #[must_use]
    pub fn symbols_at(&self, index: u32) -> Option<SymbolTable> {
        self.symbol_table(&self.get(usize::try_from(index).ok()?)?)
    }

    fn symbol_table(&self, table: &Section) -> Option<SymbolTable> {
        let names = self.get(usize::try_from(table.link).ok()?)?;
        Some(SymbolTable {
            symbols: table.range()?,
            names: names.range().filter(|_| names.is_stored())?,
        })
    }

    /// The GNU build id, by the sections with notes.
    #[must_use]
    pub fn build_id(&self) -> Option<BuildId> {
        let mut notes = self.iter().filter(|section| section.kind == elf::SHT_NOTE);
        notes.find_map(|section| {
            let start = section.offset.0;
            let length = section.length.min(MAX_NOTE_BYTES);
            let bytes = self.source.bytes(start..start.checked_add(length)?)?;
            note::build_id(&bytes, section.align)
        })
    }
}

/// Sections of a file in memory, whose bytes cost nothing, however many they are.
impl<'s> SectionsOf<'s, [u8]> {
    /// The bytes of a section as the file has them; `None` when it has none, or not all.
    #[must_use]
    pub fn bytes(&self, section: &Section) -> Option<&'s [u8]> {
        self.bytes_within(section, u64::MAX)
    }

    /// What a section holds; `None` when it is not all in the file, or its compression has no header.
    #[must_use]
    pub fn content(&self, section: &Section) -> Option<Content<&'s [u8]>> {
        self.content_within(section, u64::MAX)
    }
}
