//! Units: their headers, abbreviations and the attributes of their root entries.
//!
//! What `gimli` does to open a unit, but counted, and without the unit's line program: its header may announce
//! millions of files, and most units are opened for something else.

use gimli::constants as dw;
use gimli::{
    AttributeValue, DebugAbbrevOffset, DebugAddrBase, DebugInfoOffset, DebugLineOffset,
    DebugLocListsBase, DebugRngListsBase, DebugStrOffsetsBase, DwLang, UnitHeader, UnitType,
};

use super::abbreviations::{self, Table};
use super::functions::CodeRanges;
use super::sections::{Dwarf, Slice, Unit};
use super::split::{self, Skeleton};
use super::work::Work;

/// A unit and what its root entry says.
pub(super) struct OpenUnit<'data> {
    pub(super) unit: Unit<'data>,
    /// Its code.
    pub(super) code: CodeRanges<'data>,
    /// Where its line program is.
    pub(super) lines: Option<DebugLineOffset>,
    pub(super) language: Option<DwLang>,
    /// Where the unit itself is, of which this is the skeleton.
    pub(super) skeleton: Option<Skeleton>,
    /// The bytes that its abbreviations take.
    pub(super) bytes: usize,
}

/// The table of abbreviations that was read last: units next to each other often share theirs.
#[derive(Default)]
pub(super) struct LastTable(Option<(DebugAbbrevOffset, Option<Table>)>);

impl LastTable {
    fn get(
        &mut self,
        dwarf: &Dwarf<'_>,
        offset: DebugAbbrevOffset,
        work: &mut Work<'_, '_, '_>,
    ) -> Option<Table> {
        match &self.0 {
            Some((known, table)) if *known == offset => table.clone(),
            _ => {
                let table = abbreviations::read(dwarf, offset, work);
                self.0 = Some((offset, table.clone()));
                table
            }
        }
    }
}

/// Opens the unit at `offset`.
pub(super) fn at<'data>(
    dwarf: &Dwarf<'data>,
    offset: DebugInfoOffset,
    last: &mut LastTable,
    work: &mut Work<'_, '_, '_>,
) -> Option<OpenUnit<'data>> {
    open(dwarf, dwarf.unit_header(offset).ok()?, last, work)
}

/// Opens the unit with this header; `None` when it is malformed or the budget is empty.
pub(super) fn open<'data>(
    dwarf: &Dwarf<'data>,
    header: UnitHeader<Slice<'data>>,
    last: &mut LastTable,
    work: &mut Work<'_, '_, '_>,
) -> Option<OpenUnit<'data>> {
    let table = last.get(dwarf, header.debug_abbrev_offset(), work)?;
    let (encoding, file_type) = (header.encoding(), dwarf.file_type);
    let mut opened = OpenUnit {
        bytes: table.bytes,
        unit: Unit {
            dwo_id: match header.type_() {
                UnitType::Skeleton(id) | UnitType::SplitCompilation(id) => Some(id),
                _ => None,
            },
            header,
            abbreviations: table.parsed,
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(
                encoding, file_type,
            ),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, file_type),
            rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, file_type),
            line_program: None,
        },
        code: CodeRanges::default(),
        lines: None,
        language: None,
        skeleton: None,
    };
    let (mut name, mut directory, mut object) = (None, None, None);
    let abbreviations = opened.unit.abbreviations.clone();
    let mut entries = opened.unit.header.entries_raw(&abbreviations, None).ok()?;
    let abbreviation = entries.read_abbreviation().ok()??;
    let start = entries.next_offset().0;
    for specification in abbreviation.attributes() {
        let attribute = entries.read_attribute(*specification).ok()?;
        let value = attribute.value();
        let unit = &mut opened.unit;
        match (attribute.name(), &value) {
            (dw::DW_AT_name, _) => name = Some(value),
            (dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name, _) => object = Some(value),
            (dw::DW_AT_comp_dir, _) => directory = Some(value),
            (dw::DW_AT_stmt_list, AttributeValue::DebugLineRef(at)) => opened.lines = Some(*at),
            (dw::DW_AT_language, AttributeValue::Language(language)) => {
                opened.language = Some(*language);
            }
            (dw::DW_AT_str_offsets_base, AttributeValue::DebugStrOffsetsBase(base)) => {
                unit.str_offsets_base = *base;
            }
            (
                dw::DW_AT_addr_base | dw::DW_AT_GNU_addr_base,
                AttributeValue::DebugAddrBase(base),
            ) => unit.addr_base = *base,
            (
                dw::DW_AT_rnglists_base | dw::DW_AT_GNU_ranges_base,
                AttributeValue::DebugRngListsBase(base),
            ) => unit.rnglists_base = *base,
            (dw::DW_AT_GNU_dwo_id, AttributeValue::DwoId(id)) => {
                unit.dwo_id.get_or_insert(*id);
            }
            (name, _) => opened.code.attribute(name, value),
        }
    }
    let read = entries.next_offset().0 - start;
    if !work.step(1 + abbreviation.attributes().len()) || !work.bytes(read) {
        return None;
    }
    opened.unit.name = name.and_then(|name| text(dwarf, &opened.unit, name, work));
    opened.unit.comp_dir = directory.and_then(|path| text(dwarf, &opened.unit, path, work));
    if let (Some(id), Some(object)) = (opened.unit.dwo_id, object) {
        let name = text(dwarf, &opened.unit, object, work);
        let path = name.and_then(|name| split::path(opened.unit.comp_dir, name));
        opened.skeleton = path.map(|path| Skeleton { id, path });
    }
    opened.unit.low_pc = opened.code.low(dwarf, &opened.unit).unwrap_or(0);
    Some(opened)
}

/// A string, whose end is searched for at a cost.
pub(super) fn text<'data>(
    dwarf: &Dwarf<'data>,
    unit: &Unit<'data>,
    value: AttributeValue<Slice<'data>>,
    work: &mut Work<'_, '_, '_>,
) -> Option<Slice<'data>> {
    let found = dwarf.attr_string(unit, value).ok();
    // A string without an end was searched for it to the end of its section.
    let section = gimli::Section::reader(&dwarf.debug_str).len();
    work.bytes(found.map_or(section, |text| text.len()))
        .then_some(found)
        .flatten()
}
