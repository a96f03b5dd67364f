//! The sections of a file's debug information, mapped or decompressed.

use std::sync::Arc;

use gimli::SectionId;
use hashbrown::HashMap;

use super::image::ElfImage;
use crate::symbolize::dwarf::{DebugSections, NEEDED, SectionBytes, Sections};

/// The sections of debug information, and of the supplementary file's; `None` when they are too large or
/// cannot be decompressed.
pub(super) fn debug_sections<'data>(
    image: &ElfImage<'data>,
    supplementary: Option<&ElfImage<'data>>,
    (mapped_limit, decompressed_limit): (u64, u64),
    kept: &mut HashMap<(bool, SectionId), Arc<[u8]>>,
) -> Option<DebugSections<'data>> {
    let (mut mapped, mut decompressed) = (0_u64, 0_u64);
    for image in std::iter::once(image).chain(supplementary) {
        for section in NEEDED.iter().filter_map(|id| image.section(id.name())) {
            let total = if section.is_compressed() {
                &mut decompressed
            } else {
                &mut mapped
            };
            *total = total.saturating_add(section.size());
        }
    }
    if mapped > mapped_limit || decompressed > decompressed_limit {
        return None;
    }
    let files = std::iter::once(image)
        .chain(supplementary)
        .map(|image| image.data)
        .collect();
    let supplementary = match supplementary {
        Some(image) => Some(sections(image, true, decompressed_limit, kept)?),
        None => None,
    };
    Some(DebugSections {
        own: sections(image, false, decompressed_limit, kept)?,
        supplementary,
        files,
    })
}

fn sections<'data>(
    image: &ElfImage<'data>,
    supplementary: bool,
    limit: u64,
    kept: &mut HashMap<(bool, SectionId), Arc<[u8]>>,
) -> Option<Sections<'data>> {
    Sections::load(|id| {
        let needed = NEEDED.contains(&id);
        let Some(section) = needed.then(|| image.section(id.name())).flatten() else {
            return Ok::<_, ()>(SectionBytes::Mapped(&[]));
        };
        if !section.is_compressed() {
            return Ok(SectionBytes::Mapped(section.into_stored()));
        }
        if let Some(bytes) = kept.get(&(supplementary, id)) {
            return Ok(SectionBytes::Kept(Arc::clone(bytes)));
        }
        let bytes: Arc<[u8]> = section.decompress(limit).ok_or(())?.into();
        kept.insert((supplementary, id), Arc::clone(&bytes));
        Ok(SectionBytes::Kept(bytes))
    })
    .ok()
}
