//! Sections that are stored compressed: `SHF_COMPRESSED` with zlib or zstd (System V ABI, chapter 4,
//! "Section Compression"; what Go's linker does unless told otherwise), and GNU's older
//! `.zdebug_` sections: `ZLIB`, the size as 8 bytes big-endian, a zlib stream.
//!
//! The size that the section declares is the bound: it is compared with the limit before anything is
//! allocated, nothing behind it is decompressed, and a stream that ends before it is an absence.

use std::io::Read as _;

use object::elf;
use ruzstd::decoding::StreamingDecoder;

/// Bytes of the header of a section with `SHF_COMPRESSED` (`Elf64_Chdr`).
const HEADER_BYTES: usize = 24;
/// Most bytes of a zstd window; no decoder has to support more (RFC 8878, section 3.1.1.1.2).
const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// Most zstd frames of a section: lld makes one of each MiB.
const MAX_FRAMES: usize = 1 << 10;

/// How a section is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Zlib,
    Zstd,
}

/// A compressed section, its header read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compressed<'s> {
    method: Method,
    /// Bytes when decompressed, as declared.
    pub(super) size: u64,
    stream: &'s [u8],
}

impl<'s> Compressed<'s> {
    /// A section with `SHF_COMPRESSED`; `None` when its header is cut or its method unknown.
    pub(super) fn flagged(bytes: &'s [u8]) -> Option<Self> {
        let (header, stream) = bytes.split_at_checked(HEADER_BYTES)?;
        let method = match elf::CompressionType(u32::from_le_bytes(*header.first_chunk()?)) {
            elf::ELFCOMPRESS_ZLIB => Method::Zlib,
            elf::ELFCOMPRESS_ZSTD => Method::Zstd,
            _ => return None,
        };
        Some(Self {
            method,
            size: u64::from_le_bytes(*header.get(8..)?.first_chunk()?),
            stream,
        })
    }

    /// A `.zdebug_` section; `None` when it does not start as one.
    pub(super) fn named(bytes: &'s [u8]) -> Option<Self> {
        let (size, stream) = bytes.strip_prefix(b"ZLIB")?.split_first_chunk()?;
        Some(Self {
            method: Method::Zlib,
            size: u64::from_be_bytes(*size),
            stream,
        })
    }

    /// Its bytes; `None` when they are not as many as declared, more than `limit`, or malformed.
    pub(super) fn decompress(&self, limit: u64) -> Option<Vec<u8>> {
        if self.size > limit {
            return None;
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(self.size).ok()?)
            .ok()?;
        match self.method {
            Method::Zlib => {
                flate2::read::ZlibDecoder::new(self.stream)
                    .take(self.size)
                    .read_to_end(&mut bytes)
                    .ok()?;
            }
            Method::Zstd => {
                let mut stream = self.stream;
                for _ in 0..MAX_FRAMES {
                    let left = self.size - bytes.len() as u64;
                    if left == 0 {
                        break;
                    }
                    StreamingDecoder::new_with_max_window_size(&mut stream, MAX_WINDOW_BYTES)
                        .ok()?
                        .take(left)
                        .read_to_end(&mut bytes)
                        .ok()?;
                }
            }
        }
        (bytes.len() as u64 == self.size).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn content() -> Vec<u8> {
        (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
    }

    fn zlib(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn flagged(kind: elf::CompressionType, size: usize, stream: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = u64::from(kind.0).to_le_bytes().to_vec();
        bytes.extend((size as u64).to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(stream);
        Compressed::flagged(&bytes)?.decompress(LIMIT)
    }

    #[test]
    fn a_size_beyond_the_limit_is_refused() {
        let content = content();
        assert_eq!(
            flagged(elf::ELFCOMPRESS_ZLIB, LIMIT as usize + 1, &zlib(&content)),
            None
        );
        assert_eq!(flagged(elf::ELFCOMPRESS_ZSTD, usize::MAX, &[]), None);
    }

    #[test]
    fn nothing_behind_the_declared_size_is_decompressed() {
        let content = content();
        let half = content.len() / 2;
        for (kind, stream) in [
            (elf::ELFCOMPRESS_ZLIB, zlib(&content)),
            (elf::ELFCOMPRESS_ZSTD, zstd(&content)),
        ] {
            let found = flagged(kind, half, &stream).unwrap();
            assert!(found == content[..half] && found.capacity() < content.len());
        }
    }

    #[test]
    fn a_stream_that_is_cut_is_absent() {
        let content = content();
        for (kind, stream) in [
            (elf::ELFCOMPRESS_ZLIB, zlib(&content)),
            (elf::ELFCOMPRESS_ZSTD, zstd(&content)),
        ] {
            for length in [0, 1, 20, stream.len() / 2] {
                assert_eq!(flagged(kind, content.len(), &stream[..length]), None);
            }
        }
        assert_eq!(Compressed::flagged(&[1; 23]), None);
        assert_eq!(Compressed::flagged(&[7; 40]), None);
        assert_eq!(Compressed::named(b"ZLIB\0\0\0\0"), None);
    }

    #[test]
    fn zstd_frames_follow_each_other() {
        let content = content();
        let (first, second) = content.split_at(70_000);
        let stream = [zstd(first), zstd(second)].concat();
        let found = flagged(elf::ELFCOMPRESS_ZSTD, content.len(), &stream);
        assert!(found.unwrap() == content);
    }
}
