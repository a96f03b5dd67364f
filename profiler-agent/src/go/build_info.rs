//! The version that a program was built with, from its build information:
//!
//! | offset | what |
//! |---|---|
//! | 0 | `\xff Go buildinf:` |
//! | 14 | pointer size |
//! | 15 | flags: 1 big endian, 2 strings follow |
//! | 16 | without flag 2: address of the version's string header (address, length) |
//! | 32 | with flag 2: the version's length as a varint, and its text |

use super::elf::{Access, Image};
use super::find::MAX_SEARCHED;
use super::version::Version;
use crate::elf::ReadAt as _;

const MAGIC: &[u8] = b"\xff Go buildinf:";
const ALIGNMENT: usize = 16;
const POINTER_SIZE: usize = 14;
const FLAGS: usize = 15;
const POINTER: u64 = 16;
const INLINE: usize = 32;
/// Longest version that is read.
const MAX_LENGTH: usize = 256;

/// The version of Go that the program in `data` was built with.
#[must_use]
pub fn version_of(data: &[u8]) -> Option<Version> {
    version(&Image::parse(data)?)
}

pub(super) fn version(image: &Image<'_>) -> Option<Version> {
    let (address, bytes) = find(image)?;
    let flags = *bytes.get(FLAGS)?;
    let text = if flags & 2 != 0 {
        let (length, text) = length(bytes.get(INLINE..)?)?;
        text.get(..length)?
    } else {
        if flags & 1 != 0 || bytes.get(POINTER_SIZE) != Some(&8) {
            return None;
        }
        let header = image.pointer(address.checked_add(POINTER)?);
        let length = image.at(header.checked_add(8)?)?.bytes.word(0)?;
        let text = image.at(image.pointer(header))?.bytes;
        text.get(..usize::try_from(length).ok()?)?
    };
    Version::parse(std::str::from_utf8(text.get(..text.len().min(MAX_LENGTH))?).ok()?)
}

/// Is there build information? Looks at the section, or all over writable memory where it has none.
pub(super) fn exists(image: &Image<'_>) -> bool {
    find(image).is_some()
}

/// The address and the bytes of the build information, up to the end of its segment.
fn find<'data>(image: &Image<'data>) -> Option<(u64, &'data [u8])> {
    if let Some(section) = image.section(".go.buildinfo")
        && section.bytes.starts_with(MAGIC)
    {
        return Some((section.address, section.bytes));
    }
    // Linkers that do not know the section put it anywhere among the data.
    let mut segments = image
        .segments()
        .filter(|(access, _)| *access == Access::Write);
    segments.find_map(|(_, segment)| {
        let searched = &segment.bytes[..segment.bytes.len().min(MAX_SEARCHED)];
        let blocks = searched.chunks(ALIGNMENT);
        let skipped = ALIGNMENT
            * blocks
                .enumerate()
                .find(|(_, block)| block.starts_with(MAGIC))?
                .0;
        Some((
            segment.address.wrapping_add(skipped as u64),
            &segment.bytes[skipped..],
        ))
    })
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().take(3).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, &bytes[index + 1..]));
        }
    }
    None
}
