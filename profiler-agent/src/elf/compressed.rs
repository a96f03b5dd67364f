//! Sections that are stored compressed: `SHF_COMPRESSED` with zlib or zstd (System V ABI, chapter 4,
//! "Section Compression"; what Go's linker does unless told otherwise), and GNU's older
//! `.zdebug_` sections (binutils, `--compress-debug-sections=zlib-gnu`): `ZLIB`, the size as 8 bytes big-endian, a zlib stream.
//!
//! The size that the section declares is the bound: it is compared with the limit before anything is
//! allocated, nothing behind it is decompressed, and a stream that ends before it is an absence. So is a stream that takes
//! more than 1 MiB above what it yields: blocks and frames may hold nothing, and there may be any number of them.

use std::borrow::Cow;
use std::io::Read as _;
use std::ops::Deref;

use object::LittleEndian as LE;
use object::elf::{self, CompressionHeader64};
use object::pod;
use ruzstd::decoding::StreamingDecoder;

/// Most bytes of a zstd window; no decoder has to support more (RFC 8878, section 3.1.1.1.2).
const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// Most zstd frames of a section: lld makes one of each MiB.
const MAX_FRAMES: usize = 1 << 10;
/// Bytes of a stream that are read beyond as many as are wanted of its content. What cannot be compressed is stored with a
/// few bytes for each block of 64 KiB (RFC 1951, section 3.2.4) or 128 KiB (RFC 8878, section 3.1.1.2.4).
const MAX_OVERHEAD: u64 = 1 << 20;

/// What a section's name and flags say of how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    /// `SHF_COMPRESSED`: a header comes first.
    Flagged,
    /// `.zdebug_`.
    Named,
}

/// How a section is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Zlib,
    Zstd,
    Unknown,
}

/// What a compressed section begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compression {
    method: Method,
    /// Bytes when decompressed, as declared.
    size: u64,
    /// Where the stream starts.
    start: usize,
}

/// What a section holds.
#[derive(Debug)]
pub struct Content<B> {
    stored: B,
    compression: Option<Compression>,
}

impl Compression {
    fn flagged(bytes: &[u8]) -> Option<Self> {
        let (header, stream) = pod::from_bytes::<CompressionHeader64<LE>>(bytes).ok()?;
        Some(Self {
            method: match header.ch_type.get(LE) {
                elf::ELFCOMPRESS_ZLIB => Method::Zlib,
                elf::ELFCOMPRESS_ZSTD => Method::Zstd,
                _ => Method::Unknown,
            },
            size: header.ch_size.get(LE),
            start: bytes.len() - stream.len(),
        })
    }

    fn named(bytes: &[u8]) -> Option<Self> {
        let (size, stream) = bytes.strip_prefix(b"ZLIB")?.split_first_chunk()?;
        Some(Self {
            method: Method::Zlib,
            size: u64::from_be_bytes(*size),
            start: bytes.len() - stream.len(),
        })
    }

    /// The first `length` bytes of what was compressed, or fewer if there are no more.
    fn decompress(self, stream: &[u8], length: u64) -> Option<Vec<u8>> {
        let most = usize::try_from(length.saturating_add(MAX_OVERHEAD)).ok()?;
        let mut stream = &stream[..stream.len().min(most)];
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(length).ok()?)
            .ok()?;
        match self.method {
            Method::Zlib => {
                flate2::read::ZlibDecoder::new(stream)
                    .take(length)
                    .read_to_end(&mut bytes)
                    .ok()?;
            }
            Method::Zstd => {
                for _ in 0..MAX_FRAMES {
                    let left = length - bytes.len() as u64;
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
            Method::Unknown => return None,
        }
        Some(bytes)
    }
}

impl<B: Deref<Target = [u8]>> Content<B> {
    /// What is `stored`; `None` when it does not begin as it has to.
    pub(super) fn of(packing: Packing, stored: B) -> Option<Self> {
        let compression = match packing {
            Packing::Plain => None,
            Packing::Flagged => Some(Compression::flagged(&stored)?),
            Packing::Named => Some(Compression::named(&stored)?),
        };
        Some(Self {
            stored,
            compression,
        })
    }

    /// Is it compressed?
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Bytes, when decompressed: as the section declares them.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.compression
            .map_or(self.stored.len() as u64, |compression| compression.size)
    }

    /// Its bytes as they are in the file.
    #[must_use]
    pub fn into_stored(self) -> B {
        self.stored
    }

    /// Decompresses what is compressed; `None` when it is not, when its bytes are not as many as declared or more than
    /// `limit`, and when it is malformed.
    #[must_use]
    pub fn decompress(&self, limit: u64) -> Option<Vec<u8>> {
        let compression = self.compression?;
        if compression.size > limit || self.stored.len() as u64 > limit {
            return None;
        }
        let stream = &self.stored[compression.start..];
        let bytes = compression.decompress(stream, compression.size)?;
        (bytes.len() as u64 == compression.size).then_some(bytes)
    }
}

impl<'d> Content<&'d [u8]> {
    /// Its first bytes, decompressed, `limit` of them at most; `None` when they are malformed.
    #[must_use]
    pub fn beginning(&self, limit: u64) -> Option<Cow<'d, [u8]>> {
        let length = self.size().min(limit);
        let Some(compression) = self.compression else {
            let length = usize::try_from(length).ok()?;
            return Some(Cow::Borrowed(self.stored.get(..length)?));
        };
        let stream = &self.stored[compression.start..];
        Some(Cow::Owned(compression.decompress(stream, length)?))
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
        Content::of(Packing::Flagged, &bytes[..])?.decompress(LIMIT)
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
        assert!(Content::of(Packing::Flagged, &[1; 23][..]).is_none());
        assert!(Content::of(Packing::Named, &b"ZLIB\0\0\0\0"[..]).is_none());
        // Of a method that is not known.
        let unknown = Content::of(Packing::Flagged, &[7; 40][..]).unwrap();
        assert!(unknown.is_compressed());
        assert_eq!(unknown.decompress(u64::MAX), None);
    }

    #[test]
    fn zstd_frames_follow_each_other() {
        let content = content();
        let (first, second) = content.split_at(70_000);
        let stream = [zstd(first), zstd(second)].concat();
        let found = flagged(elf::ELFCOMPRESS_ZSTD, content.len(), &stream);
        assert!(found.unwrap() == content);
    }

    /// Frames of so many bytes each.
    fn frames(content: &[u8], each: usize) -> Vec<u8> {
        content.chunks(each).flat_map(zstd).collect()
    }

    #[test]
    fn one_zstd_frame_is_as_good_as_several() {
        let content = content();
        for each in [content.len(), 300_000, 70_001, 4_096] {
            let stream = frames(&content, each);
            let found = flagged(elf::ELFCOMPRESS_ZSTD, content.len(), &stream);
            assert!(found.as_ref() == Some(&content), "frames of {each} bytes");
        }
    }

    #[test]
    fn frames_are_not_more_than_the_section_says_and_not_fewer() {
        let content = content();
        let size = content.len();
        let decompress = |stream: &[u8], size| flagged(elf::ELFCOMPRESS_ZSTD, size, stream);
        let stored = frames(&content, 70_001);
        let found = decompress(&stored, size - 100_000).unwrap();
        assert!(found == content[..size - 100_000]);
        assert_eq!(decompress(&stored, size + 1), None);
        assert_eq!(decompress(&stored[..stored.len() / 2], size), None);
        assert_eq!(decompress(&[], 1), None);
        // The second frame is none.
        let first = frames(&content[..70_001], 70_001);
        assert_eq!(decompress(&[&first[..], b"no frame"].concat(), size), None);
    }

    #[test]
    fn frames_without_content_come_to_an_end() {
        let stored = zstd(&[]).repeat(100_000);
        assert_eq!(flagged(elf::ELFCOMPRESS_ZSTD, 1, &stored), None);
    }

    /// Of the content, a zlib stream that begins with so many blocks that hold nothing.
    fn padded(content: &[u8], blocks: usize) -> Vec<u8> {
        let stream = zlib(content);
        let (header, rest) = stream.split_at(2);
        [header, &[0_u8, 0, 0, 0xff, 0xff].repeat(blocks), rest].concat()
    }

    #[test]
    fn a_stream_is_read_a_mebibyte_beyond_what_is_wanted_at_most() {
        let content = [7; 5_000];
        let most = MAX_OVERHEAD as usize / 5;
        let packed = |blocks| {
            let mut bytes = u64::from(elf::ELFCOMPRESS_ZLIB.0).to_le_bytes().to_vec();
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend(1_u64.to_le_bytes());
            bytes.extend(padded(&content, blocks));
            bytes
        };
        let (few, many) = (packed(most), packed(most + 1_000));
        let few = Content::of(Packing::Flagged, &few[..]).unwrap();
        assert!(few.decompress(u64::MAX).unwrap() == content);
        assert!(*few.beginning(u64::MAX).unwrap() == content);
        // Fewer are wanted of the same stream: the bytes behind the blocks are too far.
        assert!(few.beginning(1).is_none_or(|found| found.is_empty()));
        let many = Content::of(Packing::Flagged, &many[..]).unwrap();
        assert_eq!(many.decompress(u64::MAX), None);
        let beginning = many.beginning(u64::MAX);
        assert!(beginning.is_none_or(|found| found.is_empty()));
    }

    #[test]
    fn the_beginning_is_no_longer_than_asked_for() {
        let content = content();
        for (kind, stream) in [
            (elf::ELFCOMPRESS_ZLIB, zlib(&content)),
            (elf::ELFCOMPRESS_ZSTD, zstd(&content)),
        ] {
            let mut bytes = u64::from(kind.0).to_le_bytes().to_vec();
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend(1_u64.to_le_bytes());
            bytes.extend(stream);
            let packed = Content::of(Packing::Flagged, &bytes[..]).unwrap();
            for limit in [0, 1, 5_000, u64::MAX] {
                let length = content.len().min(limit.min(1 << 30) as usize);
                let found = packed.beginning(limit).unwrap();
                assert!(*found == content[..length] && found.len() == length);
            }
        }
        let plain = Content::of(Packing::Plain, &content[..]).unwrap();
        assert!(*plain.beginning(7).unwrap() == content[..7]);
        assert!(*plain.beginning(u64::MAX).unwrap() == content);
        assert_eq!(plain.decompress(u64::MAX), None);
    }
}
