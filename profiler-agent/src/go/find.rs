//! Where in a file its line table is: in the section of that name, at the symbol, or, in a file without
//! either, wherever a header's first bytes are found and the rest of it holds.

use super::build_info;
use super::elf::{Access, Image, Part};
use super::header::Header;

const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
const ALIGNMENT: usize = 8;
/// Bytes of a segment that are searched where nothing says where the table is.
pub(super) const MAX_SEARCHED: usize = 256 << 20;

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
    image.has_note(b"Go\0\0")
        || names.any(|name| image.section(name).is_some())
        || (!image.has_sections() && build_info::exists(&image))
}

/// What may be the line table, each to the end of its section or segment.
pub(super) fn candidates<'i, 'data>(
    image: &'i Image<'data>,
) -> impl Iterator<Item = Part<'data>> + use<'i, 'data> {
    let named = SECTIONS.iter().find_map(|name| image.section(name));
    let named = named.or_else(|| image.at(image.symbol(b"runtime.pclntab")?));
    // Code comes last: it is the largest, and the table is in it only where a linker was told to put
    // everything into one segment.
    let order = [Access::Read, Access::Write, Access::Execute];
    let segments = order.into_iter().flat_map(|wanted| {
        let segments = image
            .segments()
            .filter(move |(access, _)| *access == wanted);
        segments.flat_map(|(_, segment)| scan(segment))
    });
    named.into_iter().chain(segments)
}

fn scan(segment: Part<'_>) -> impl Iterator<Item = Part<'_>> {
    let searched = &segment.bytes[..segment.bytes.len().min(MAX_SEARCHED)];
    let words = searched.chunks_exact(ALIGNMENT).enumerate();
    let places = words.filter_map(|(index, word)| match word {
        [0xf0 | 0xf1 | 0xfa, 0xff, 0xff, 0xff, 0, 0, 1 | 2 | 4, 8] => Some(index * ALIGNMENT),
        _ => None,
    });
    places
        .map(move |skipped| Part {
            offset: segment.offset + skipped,
            address: segment.address.wrapping_add(skipped as u64),
            bytes: &segment.bytes[skipped..],
        })
        .filter(|part| Header::parse(part.bytes).is_ok())
}
