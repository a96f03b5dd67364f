//! The parts of an ELF file that symbols are read from.

use object::elf;

use crate::elf::compressed::Content;
use crate::elf::{ElfFile, Sections};
use crate::profile::BuildId;

/// Bytes of a path in a link to another file.
const MAX_LINK: usize = 4096;

/// A 64-bit ELF file in memory.
#[derive(Debug)]
pub(super) struct ElfImage<'data> {
    pub(super) data: &'data [u8],
    pub(super) machine: elf::Machine,
    pub(super) sections: Sections<'data, [u8], &'data [u8]>,
}

impl<'data> ElfImage<'data> {
    /// Parses the file's and the sections' headers; `None` when it is no 64-bit ELF file or malformed.
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        let file = ElfFile::parse_64(data)?;
        Some(Self {
            data,
            machine: file.header.machine,
            sections: file.sections()?,
        })
    }

    /// What the section with this name holds, if it has bytes in the file.
    pub(super) fn section(&self, name: &str) -> Option<Content<&'data [u8]>> {
        let section = self.sections.stored(name)?;
        self.sections.content(&section)
    }

    fn stored(&self, name: &str) -> Option<&'data [u8]> {
        self.sections.bytes(&self.sections.stored(name)?)
    }

    /// Does it have a symbol table of its own, not only the one for the dynamic linker?
    pub(super) fn has_symbols(&self) -> bool {
        let mut sections = self.sections.iter();
        sections.any(|section| section.kind == elf::SHT_SYMTAB)
    }

    /// The file's GNU build id. Not by its segments: those of a file with nothing but debug information are another file's.
    pub(super) fn build_id(&self) -> Option<BuildId> {
        self.sections.build_id()
    }

    /// The name and the CRC-32 of the file with its debug information (`.gnu_debuglink`: a name that ends
    /// with a zero, padded to 4 bytes, and the sum).
    pub(super) fn debug_link(&self) -> Option<(&'data [u8], u32)> {
        let bytes = self.stored(".gnu_debuglink")?;
        let length = bytes.iter().take(MAX_LINK).position(|byte| *byte == 0)?;
        let crc = bytes
            .get((length + 1).next_multiple_of(4)..)?
            .first_chunk()?;
        Some((&bytes[..length], u32::from_le_bytes(*crc)))
    }

    /// The name and the build id of the file that it shares debug information with others through
    /// (`.gnu_debugaltlink`: a name that ends with a zero, and the id).
    pub(super) fn supplementary_link(&self) -> Option<(&'data [u8], BuildId)> {
        let bytes = self.stored(".gnu_debugaltlink")?;
        let length = bytes.iter().take(MAX_LINK).position(|byte| *byte == 0)?;
        Some((&bytes[..length], BuildId::new(&bytes[length + 1..])?))
    }

    /// Does it carry debug information itself?
    pub(super) fn has_debug_info(&self) -> bool {
        self.section(".debug_info")
            .is_some_and(|section| section.size() > 0)
    }
}
