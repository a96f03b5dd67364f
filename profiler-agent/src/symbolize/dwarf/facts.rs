//! What an entry says of its function, itself or through the entries that it refers to.

use std::rc::Rc;

use gimli::constants as dw;
use gimli::{AttributeValue, DebugInfoOffset, UnitOffset};

use super::sections::{Dwarf, Slice, Unit};
use super::unit::text;
use super::work::Work;

/// References that are followed from an entry to the one with the name.
const MAX_HOPS: usize = 16;

/// Name and declaration of a function.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FunctionFacts<'data> {
    /// Mangled name (`DW_AT_linkage_name`).
    pub(super) linkage_name: Option<Slice<'data>>,
    /// Name in the source.
    pub(super) name: Option<Slice<'data>>,
    /// Line of its declaration; 0 where unknown.
    pub(super) start_line: u32,
}

/// A reference from one entry to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryReference {
    /// In the same unit.
    Unit(UnitOffset),
    /// Anywhere in the same file.
    Info(DebugInfoOffset),
    /// In the supplementary file.
    Supplementary(DebugInfoOffset),
}

impl EntryReference {
    /// The reference that an attribute holds.
    pub(super) fn of(value: &AttributeValue<Slice<'_>>) -> Option<Self> {
        match value {
            AttributeValue::UnitRef(offset) => Some(Self::Unit(*offset)),
            AttributeValue::DebugInfoRef(offset) => Some(Self::Info(*offset)),
            AttributeValue::DebugInfoRefSup(offset) => Some(Self::Supplementary(*offset)),
            _ => None,
        }
    }
}

impl<'data> FunctionFacts<'data> {
    /// Adds what the entry at `offset` says and was not known: an entry comes before those that it
    /// refers to. Returns the reference to follow while something is missing.
    fn add(
        &mut self,
        dwarf: &Dwarf<'data>,
        unit: &Unit<'data>,
        offset: UnitOffset,
        work: &mut Work<'_, '_, '_>,
    ) -> Option<EntryReference> {
        let mut entries = unit.entries_raw(Some(offset)).ok()?;
        let abbreviation = entries.read_abbreviation().ok()??;
        let mut next = None;
        let mut before = entries.next_offset().0;
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification).ok()?;
            let here = entries.next_offset().0;
            if !work.step(1) || !work.bytes(here - before) {
                return None;
            }
            before = here;
            let mut text = || text(dwarf, unit, attribute.value(), work);
            match attribute.name() {
                dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => {
                    self.linkage_name = self.linkage_name.or_else(text);
                }
                dw::DW_AT_name => self.name = self.name.or_else(&mut text),
                dw::DW_AT_decl_line if self.start_line == 0 => {
                    let line = attribute
                        .udata_value()
                        .and_then(|line| u32::try_from(line).ok());
                    self.start_line = line.unwrap_or(0);
                }
                dw::DW_AT_abstract_origin | dw::DW_AT_specification => {
                    next = EntryReference::of(&attribute.value());
                }
                _ => {}
            }
        }
        let known = self.linkage_name.is_some() && self.start_line > 0;
        next.filter(|_| !known)
    }

    /// Reads the facts of an entry of `unit` (of the supplementary file where `supplementary`), following
    /// its references; `unit_of` finds the unit of an entry of one of the files and the entry's place in it.
    pub(super) fn read(
        dwarf: &Dwarf<'data>,
        mut supplementary: bool,
        (mut unit, mut offset): (Rc<Unit<'data>>, UnitOffset),
        work: &mut Work<'_, '_, '_>,
        mut unit_of: impl FnMut(
            bool,
            DebugInfoOffset,
            &mut Work<'_, '_, '_>,
        ) -> Option<(Rc<Unit<'data>>, UnitOffset)>,
    ) -> Self {
        let mut facts = Self::default();
        for _ in 0..MAX_HOPS {
            let Some(file) = of_file(dwarf, supplementary) else {
                break;
            };
            let place = match facts.add(file, &unit, offset, work) {
                Some(EntryReference::Unit(next)) => {
                    offset = next;
                    continue;
                }
                Some(EntryReference::Info(next)) => next,
                Some(EntryReference::Supplementary(next)) => {
                    supplementary = true;
                    next
                }
                None => break,
            };
            match unit_of(supplementary, place, work) {
                Some(other) => (unit, offset) = other,
                None => break,
            }
        }
        facts
    }
}

/// The file itself or its supplementary file.
pub(super) fn of_file<'dwarf, 'data>(
    dwarf: &'dwarf Dwarf<'data>,
    supplementary: bool,
) -> Option<&'dwarf Dwarf<'data>> {
    if supplementary {
        dwarf.sup()
    } else {
        Some(dwarf)
    }
}
