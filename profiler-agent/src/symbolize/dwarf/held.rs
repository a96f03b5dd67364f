//! Units that stay open during a batch, by number and by the entries in them.

use std::rc::Rc;

use gimli::{DebugInfoOffset, DebugLineOffset, DwLang, UnitOffset};
use hashbrown::HashMap;

use super::DwarfIndex;
use super::facts::of_file;
use super::sections::{Dwarf, Unit};
use super::split::Skeleton;
use super::unit::{self, LastTable};
use super::work::Work;

/// Units that are held.
const MAX_HELD: usize = 16;
/// Bytes of their abbreviations.
const MAX_BYTES_HELD: usize = 4 << 20;

/// What is held of a unit.
#[derive(Clone)]
pub(super) struct HeldUnit<'data> {
    pub(super) unit: Rc<Unit<'data>>,
    pub(super) lines: Option<DebugLineOffset>,
    pub(super) language: Option<DwLang>,
    /// Where the unit itself is, of which this is the skeleton.
    pub(super) skeleton: Option<Skeleton>,
}

/// Units that are held, by whether they are of the supplementary file, and by number.
#[derive(Default)]
pub(super) struct Units<'data> {
    held: HashMap<(bool, u32), HeldUnit<'data>>,
    bytes: usize,
    last: LastTable,
}

impl<'data> Units<'data> {
    pub(super) fn get(
        &mut self,
        dwarf: &Dwarf<'data>,
        index: &DwarfIndex,
        supplementary: bool,
        number: u32,
        work: &mut Work<'_, '_, '_>,
    ) -> Option<HeldUnit<'data>> {
        if let Some(held) = self.held.get(&(supplementary, number)) {
            return Some(held.clone());
        }
        let dwarf = of_file(dwarf, supplementary)?;
        let offset = index.numbers(supplementary).offset(number)?;
        // A table of the other file is another one.
        if supplementary {
            self.last = LastTable::default();
        }
        let opened = unit::at(dwarf, offset, &mut self.last, work)?;
        if supplementary {
            self.last = LastTable::default();
        }
        self.bytes += opened.bytes;
        if self.held.len() >= MAX_HELD || self.bytes > MAX_BYTES_HELD {
            self.held.clear();
            self.bytes = opened.bytes;
        }
        let held = HeldUnit {
            skeleton: opened.skeleton,
            unit: Rc::new(opened.unit),
            lines: opened.lines,
            language: opened.language,
        };
        self.held.insert((supplementary, number), held.clone());
        Some(held)
    }

    /// The unit that holds an entry, and the entry's place in it.
    pub(super) fn entry(
        &mut self,
        dwarf: &Dwarf<'data>,
        index: &DwarfIndex,
        supplementary: bool,
        offset: DebugInfoOffset,
        work: &mut Work<'_, '_, '_>,
    ) -> Option<(Rc<Unit<'data>>, UnitOffset)> {
        let number = index.numbers(supplementary).holding(offset)?;
        let unit = self.get(dwarf, index, supplementary, number, work)?.unit;
        let within = offset.to_unit_offset(&unit.header)?;
        Some((unit, within))
    }
}
