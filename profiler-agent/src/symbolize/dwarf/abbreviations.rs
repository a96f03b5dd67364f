//! Abbreviations of units (DWARF 5, section 7.5.3), counted before they are parsed: a table says how many
//! attributes every entry of its kind has, and may announce a million of them that take no space.

use std::sync::Arc;

use gimli::{Abbreviations, DebugAbbrevOffset, Reader as _, constants as dw};

use super::sections::{Dwarf, Slice};
use super::work::Work;

/// Kinds of entries in a table. The largest programs have some thousands.
const MAX_KINDS: usize = 1 << 15;
/// Attributes of one kind. Compilers write up to some tens.
const MAX_ATTRIBUTES: usize = 256;
/// Attributes of a table.
const MAX_ALL_ATTRIBUTES: usize = 1 << 17;
/// Bytes that a parsed kind takes, and each of its attributes.
const KIND_BYTES: usize = 160;
const ATTRIBUTE_BYTES: usize = 24;

/// A parsed table and the bytes that it takes.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) parsed: Arc<Abbreviations>,
    pub(super) bytes: usize,
}

/// The table at `offset`; `None` when it is malformed, larger than any compiler's, or the budget is empty.
pub(super) fn read(
    dwarf: &Dwarf<'_>,
    offset: DebugAbbrevOffset,
    work: &mut Work<'_, '_, '_>,
) -> Option<Table> {
    let section = *gimli::Section::reader(&dwarf.debug_abbrev);
    let bytes = size(section, offset, work)?;
    let parsed = dwarf.debug_abbrev.abbreviations(offset).ok()?;
    Some(Table {
        parsed: Arc::new(parsed),
        bytes,
    })
}

/// Bytes that the table at `offset` takes when it is parsed.
fn size(
    mut section: Slice<'_>,
    offset: DebugAbbrevOffset,
    work: &mut Work<'_, '_, '_>,
) -> Option<usize> {
    section.skip(offset.0).ok()?;
    let (mut kinds, mut all) = (0, 0);
    while section.read_uleb128().ok()? != 0 {
        kinds += 1;
        section.read_uleb128().ok()?;
        section.read_u8().ok()?;
        let mut attributes = 0;
        loop {
            let name = section.read_uleb128().ok()?;
            let form = section.read_uleb128().ok()?;
            if (name, form) == (0, 0) {
                break;
            }
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                section.read_sleb128().ok()?;
            }
            attributes += 1;
            all += 1;
            if attributes > MAX_ATTRIBUTES || all > MAX_ALL_ATTRIBUTES {
                work.leave_out();
                return None;
            }
            if !work.step(1) {
                return None;
            }
        }
        if kinds > MAX_KINDS {
            work.leave_out();
            return None;
        }
        if !work.step(1) {
            return None;
        }
    }
    Some(kinds * KIND_BYTES + all * ATTRIBUTE_BYTES)
}
