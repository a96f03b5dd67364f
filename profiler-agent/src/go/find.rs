//! Where in a file its line table is: in the section of that name, at the symbol, or, in a file without
//! either, wherever a header's first bytes are found and the rest of it holds.

use super::build_info;
use super::elf::{Access, Image, Part};
use super::header::Header;
use super::malformed::Refusal;

const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
const ALIGNMENT: usize = 8;

/// Does the file in `data` have Go code? A cheap test that looks at its headers; where they were
/// removed, for the build information.
#[must_use]
pub fn is_go(data: &[u8]) -> bool {
    let Some(image) = Image::parse(data) else {
        return false;
    };
    let mut names = SECTIONS
        .iter()
        .chain(&[".go.buildinfo", ".note.go.buildid"]);
    image.has_note(*b"Go\0\0")
        || names.any(|name| image.section(name).is_some())
        || (!image.has_sections() && build_info::exists(&image))
}

/// The line table, to the end of its section or segment.
pub(super) fn line_table<'data>(image: &Image<'data>) -> Result<Part<'data>, Refusal> {
    let named = SECTIONS.iter().find_map(|name| image.section(name));
    let named = named.or_else(|| image.at(image.symbol(b"runtime.pclntab")?));
    let mut refusal = Refusal::Absent;
    if let Some(part) = named {
        match Header::parse(part.bytes) {
            Ok(_) => return Ok(part),
            Err(reason) => refusal = reason,
        }
    }
    // Code comes last: it is the largest, and the table is in it only where a linker was told to put
    // everything into one segment.
    for wanted in [Access::Read, Access::Write, Access::Execute] {
        for (access, segment) in image.segments() {
            if access == wanted
                && let Some(part) = scan(segment)
            {
                return Ok(part);
            }
        }
    }
    Err(refusal)
}

fn scan(segment: Part<'_>) -> Option<Part<'_>> {
    let words = segment.bytes.chunks_exact(ALIGNMENT).enumerate();
    let places = words.filter_map(|(index, word)| match word {
        [0xf0 | 0xf1 | 0xfa, 0xff, 0xff, 0xff, 0, 0, 1 | 2 | 4, 8] => Some(index * ALIGNMENT),
        _ => None,
    });
    let mut parts = places.map(|skipped| Part {
        offset: segment.offset + skipped,
        address: segment.address.wrapping_add(skipped as u64),
        bytes: &segment.bytes[skipped..],
    });
    parts.find(|part| Header::parse(part.bytes).is_ok())
}
