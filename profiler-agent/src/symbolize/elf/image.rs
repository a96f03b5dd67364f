//! The parts of an ELF file that symbols are read from.

use std::borrow::Cow;
use std::io::Read as _;

use object::elf::{self, FileHeader64};
use object::read::elf::{
    CompressionHeader as _, FileHeader as _, SectionHeader as _, SectionTable,
};
use object::{Endianness, pod};

use crate::profile::BuildId;
use crate::symbolize::kernel::notes;

/// A 64-bit ELF file in memory.
#[derive(Debug)]
pub(super) struct ElfImage<'data> {
    pub(super) data: &'data [u8],
    pub(super) endian: Endianness,
    pub(super) header: &'data FileHeader64<Endianness>,
    pub(super) sections: SectionTable<'data, FileHeader64<Endianness>>,
}

/// A section's bytes, and the size that they have without compression.
#[derive(Debug)]
pub(super) struct SectionBytes<'data> {
    stored: &'data [u8],
    compression: Option<elf::CompressionType>,
    /// Bytes when decompressed.
    pub(super) size: u64,
}

impl<'data> ElfImage<'data> {
    /// Parses the file's and the sections' headers; `None` when it is no 64-bit ELF file or malformed.
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        let header = FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, data).ok()?;
        Some(Self {
            data,
            endian,
            header,
            sections,
        })
    }

    /// The section with this name, if it has bytes in the file.
    pub(super) fn section(&self, name: &str) -> Option<SectionBytes<'data>> {
        let (_, header) = self
            .sections
            .section_by_name(self.endian, name.as_bytes())?;
        if header.sh_type(self.endian) == elf::SHT_NOBITS {
            return None;
        }
        let bytes = header.data(self.endian, self.data).ok()?;
        if elf::SHF_COMPRESSED.0 & header.sh_flags(self.endian).0 == 0 {
            return Some(SectionBytes {
                stored: bytes,
                compression: None,
                size: bytes.len() as u64,
            });
        }
        let (compression, stored) =
            pod::from_bytes::<elf::CompressionHeader64<Endianness>>(bytes).ok()?;
        Some(SectionBytes {
            stored,
            compression: Some(compression.ch_type(self.endian)),
            size: compression.ch_size(self.endian),
        })
    }

    /// The file's GNU build id.
    pub(super) fn build_id(&self) -> Option<BuildId> {
        notes::build_id(self.section(".note.gnu.build-id")?.stored)
    }
}

impl<'data> SectionBytes<'data> {
    /// Its bytes, decompressed where they are compressed; `None` when they cannot be, or would be
    /// more than `limit`.
    pub(super) fn load(&self, limit: u64) -> Option<Cow<'data, [u8]>> {
        let Some(compression) = self.compression else {
            return Some(Cow::Borrowed(self.stored));
        };
        if self.size > limit {
            return None;
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(self.size).ok()?)
            .ok()?;
        match compression {
            elf::ELFCOMPRESS_ZLIB => flate2::read::ZlibDecoder::new(self.stored)
                .take(self.size)
                .read_to_end(&mut bytes)
                .ok()?,
            _ => return None,
        };
        (bytes.len() as u64 == self.size).then_some(Cow::Owned(bytes))
    }

    /// Is it compressed?
    pub(super) const fn compressed(&self) -> bool {
        self.compression.is_some()
    }
}
