//! The parts of an ELF file that symbols are read from.

use std::io::Read as _;

use object::elf::{self, FileHeader64};
use object::read::elf::{
    CompressionHeader as _, FileHeader as _, SectionHeader as _, SectionTable,
};
use object::{Endianness, pod};
use ruzstd::decoding::StreamingDecoder;

use crate::profile::BuildId;
use crate::symbolize::kernel::notes;

/// Sections of a file. Linked programs have some tens.
const MAX_SECTIONS: usize = 1 << 14;
/// Bytes of a path in a link to another file.
const MAX_LINK: usize = 4096;
/// Bytes of notes that are looked at.
const MAX_NOTES: usize = 64 << 10;
/// Most bytes of a zstd window; no decoder has to support more (RFC 8878, section 3.1.1.1.2).
const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// Most zstd frames of a section: lld makes one of each MiB.
const MAX_FRAMES: usize = 1 << 10;

/// A 64-bit ELF file in memory.
#[derive(Debug)]
pub(super) struct ElfImage<'data> {
    pub(super) data: &'data [u8],
    pub(super) endian: Endianness,
    pub(super) machine: elf::Machine,
    pub(super) sections: SectionTable<'data, FileHeader64<Endianness>>,
    /// The sections' names.
    names: &'data [u8],
}

/// How a section's bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Zlib,
    Zstd,
    Unknown,
}

/// A section's bytes, and the size that they have without compression.
#[derive(Debug)]
pub(super) struct SectionBytes<'data> {
    /// As they are in the file.
    pub(super) stored: &'data [u8],
    compression: Option<Compression>,
    /// Bytes when decompressed.
    pub(super) size: u64,
}

impl<'data> ElfImage<'data> {
    /// Parses the file's and the sections' headers; `None` when it is no 64-bit ELF file or malformed.
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        let header = FileHeader64::<Endianness>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let headers = header.section_headers(endian, data).ok()?;
        if headers.len() > MAX_SECTIONS {
            return None;
        }
        let sections = header.sections(endian, data).ok()?;
        // A file without sections says nothing of their names.
        let names = header
            .shstrndx(endian, data)
            .ok()
            .and_then(|names| headers.get(names as usize))
            .and_then(|names| names.data(endian, data).ok());
        Some(Self {
            data,
            endian,
            machine: header.e_machine(endian),
            sections,
            names: names.unwrap_or_default(),
        })
    }

    /// Does the name of this section begin so? No name is searched for its end: it may have none.
    pub(super) fn is_named(
        &self,
        section: &elf::SectionHeader64<Endianness>,
        beginning: &[u8],
    ) -> bool {
        let name = self.names.get(section.sh_name(self.endian) as usize..);
        name.is_some_and(|name| name.starts_with(beginning))
    }

    fn header(&self, name: &[u8]) -> Option<&'data elf::SectionHeader64<Endianness>> {
        let sections = self.sections.iter();
        let named = [name, &[0]].concat();
        let header = sections
            .into_iter()
            .find(|section| self.is_named(section, &named))?;
        (header.sh_type(self.endian) != elf::SHT_NOBITS).then_some(header)
    }

    /// The section with this name, if it has bytes in the file. Debug information that an older linker compressed has
    /// another name: `.zdebug_info`.
    pub(super) fn section(&self, name: &str) -> Option<SectionBytes<'data>> {
        let Some(header) = self.header(name.as_bytes()) else {
            let old = format!(
                ".z{}",
                name.strip_prefix('.')
                    .filter(|name| name.starts_with("debug_"))?
            );
            let header = self.header(old.as_bytes())?;
            // `ZLIB` and the size as big-endian u64, then the stream (binutils, `--compress-debug-sections=zlib-gnu`).
            let bytes = header.data(self.endian, self.data).ok()?;
            let (size, stored) = bytes.strip_prefix(b"ZLIB")?.split_first_chunk()?;
            return Some(SectionBytes {
                stored,
                compression: Some(Compression::Zlib),
                size: u64::from_be_bytes(*size),
            });
        };
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
            compression: Some(match compression.ch_type(self.endian) {
                elf::ELFCOMPRESS_ZLIB => Compression::Zlib,
                elf::ELFCOMPRESS_ZSTD => Compression::Zstd,
                _ => Compression::Unknown,
            }),
            size: compression.ch_size(self.endian),
        })
    }

    /// Does it have a symbol table of its own, not only the one for the dynamic linker?
    pub(super) fn has_symbols(&self) -> bool {
        let mut sections = self.sections.iter();
        sections.any(|section| section.sh_type(self.endian) == elf::SHT_SYMTAB)
    }

    /// The file's GNU build id.
    pub(super) fn build_id(&self) -> Option<BuildId> {
        let notes = self.section(".note.gnu.build-id")?.stored;
        notes::build_id(&notes[..notes.len().min(MAX_NOTES)])
    }

    /// The name and the CRC-32 of the file with its debug information (`.gnu_debuglink`: a name that ends
    /// with a zero, padded to 4 bytes, and the sum).
    pub(super) fn debug_link(&self) -> Option<(&'data [u8], u32)> {
        let bytes = self.section(".gnu_debuglink")?.stored;
        let length = bytes.iter().take(MAX_LINK).position(|byte| *byte == 0)?;
        let crc = bytes
            .get((length + 1).next_multiple_of(4)..)?
            .first_chunk()?;
        let crc = match self.endian {
            Endianness::Little => u32::from_le_bytes(*crc),
            Endianness::Big => u32::from_be_bytes(*crc),
        };
        Some((&bytes[..length], crc))
    }

    /// The name and the build id of the file that it shares debug information with others through
    /// (`.gnu_debugaltlink`: a name that ends with a zero, and the id).
    pub(super) fn supplementary_link(&self) -> Option<(&'data [u8], BuildId)> {
        let bytes = self.section(".gnu_debugaltlink")?.stored;
        let length = bytes.iter().take(MAX_LINK).position(|byte| *byte == 0)?;
        Some((&bytes[..length], BuildId::new(&bytes[length + 1..])?))
    }

    /// Does it carry debug information itself?
    pub(super) fn has_debug_info(&self) -> bool {
        self.section(".debug_info")
            .is_some_and(|section| section.size > 0)
    }
}

impl<'data> SectionBytes<'data> {
    /// Its bytes without compression; `None` when they are not what the header says, would be more than
    /// `limit`, or are compressed in a way that is not known.
    pub(super) fn decompress(&self, limit: u64) -> Option<Vec<u8>> {
        // What is stored may be any number of blocks that hold nothing.
        if self.size > limit || self.stored.len() as u64 > limit {
            return None;
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(self.size).ok()?)
            .ok()?;
        match self.compression? {
            Compression::Zlib => {
                flate2::read::ZlibDecoder::new(self.stored)
                    .take(self.size)
                    .read_to_end(&mut bytes)
                    .ok()?;
            }
            Compression::Zstd => {
                let mut stored = self.stored;
                for _ in 0..MAX_FRAMES {
                    let left = self.size - bytes.len() as u64;
                    if left == 0 {
                        break;
                    }
                    StreamingDecoder::new_with_max_window_size(&mut stored, MAX_WINDOW_BYTES)
                        .ok()?
                        .take(left)
                        .read_to_end(&mut bytes)
                        .ok()?;
                }
            }
            Compression::Unknown => return None,
        }
        (bytes.len() as u64 == self.size).then_some(bytes)
    }

    /// Is it compressed?
    pub(super) const fn compressed(&self) -> bool {
        self.compression.is_some()
    }
}

#[cfg(test)]
mod tests {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn content() -> Vec<u8> {
        (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
    }

    /// Frames of so many bytes each.
    fn frames(content: &[u8], each: usize) -> Vec<u8> {
        content
            .chunks(each)
            .flat_map(|part| compress_to_vec(part, CompressionLevel::Fastest))
            .collect()
    }

    fn decompress(stored: &[u8], size: u64) -> Option<Vec<u8>> {
        let section = SectionBytes {
            stored,
            compression: Some(Compression::Zstd),
            size,
        };
        section.decompress(LIMIT)
    }

    #[test]
    fn one_zstd_frame_is_as_good_as_several() {
        let content = content();
        let size = content.len() as u64;
        for each in [content.len(), 300_000, 70_001, 4_096] {
            let found = decompress(&frames(&content, each), size);
            assert!(found.as_ref() == Some(&content), "frames of {each} bytes");
        }
    }

    #[test]
    fn frames_are_not_more_than_the_section_says_and_not_fewer() {
        let content = content();
        let size = content.len() as u64;
        let stored = frames(&content, 70_001);
        let found = decompress(&stored, size - 100_000).unwrap();
        assert!(found == content[..content.len() - 100_000]);
        assert_eq!(decompress(&stored, size + 1), None);
        assert_eq!(decompress(&stored[..stored.len() / 2], size), None);
        assert_eq!(decompress(&stored, LIMIT + 1), None);
        assert_eq!(decompress(&[], 1), None);
        // The second frame is none.
        let first = frames(&content[..70_001], 70_001);
        assert_eq!(decompress(&[&first[..], b"no frame"].concat(), size), None);
    }

    #[test]
    fn frames_without_content_come_to_an_end() {
        let empty = compress_to_vec(&[][..], CompressionLevel::Fastest);
        let stored = empty.repeat(100_000);
        assert_eq!(decompress(&stored, 1), None);
    }
}
