//! Functions, inlined calls and source lines from DWARF, of a few addresses at a time.
//!
//! A profiler asks for some hundred addresses of a file in its first minute and for a handful in
//! every later one. A resolver that parses all of a file's debug information and keeps it pays for the
//! other millions: about half of the information's size in memory (measured with a general-purpose
//! symbolizer: 464 MiB for a file of 839 MiB), or the whole parse again when it may not be kept.
//! Here only what an address needs is read, and what is kept is what would be slow to find again:
//!
//! 1. which unit has the address ([`units`], kept: 32 bytes a range);
//! 2. which function of that unit ([`functions`], kept, built when a unit is first asked for: 24 bytes a
//!    function);
//! 3. the inlined calls of that function ([`inlines`]) and the unit's line program ([`lines`]): read
//!    once a batch, not kept;
//! 4. names ([`facts`]), which the symbolizer's own cache keeps.
//!
//! Everything comes from strangers: walks are counted ([`work`]) and end at a limit, malformed parts
//! are left out, references are followed a bounded number of times.

mod facts;
mod functions;
mod inlines;
mod lines;
mod sections;
mod units;
mod work;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use gimli::{DebugInfoOffset, DwLang, RunTimeEndian, UnitOffset, constants as dw};
use hashbrown::HashMap;

use self::facts::{EntryReference, FunctionFacts};
use self::functions::FunctionIndex;
use self::inlines::InlinedCalls;
use self::sections::{Dwarf, Unit};
pub(super) use self::sections::{NEEDED, SectionBytes, Sections};
use self::units::UnitIndex;
use self::work::Work;
use super::names::Names;
use crate::profile::SourceLine;

/// Entries and rows that one batch may walk: about a second of one core.
const WORK_LIMIT: u64 = 40_000_000;
/// Units that may claim one address.
const MAX_CLAIMS: usize = 4;
/// Parsed units that are held during a batch.
const MAX_UNITS_HELD: usize = 16;

/// What is kept of a file's debug information.
#[derive(Debug)]
pub(super) struct DwarfIndex {
    units: UnitIndex,
    functions: HashMap<u32, FunctionIndex>,
}

/// One function at an address.
#[derive(Clone, Debug)]
pub(super) struct DwarfFrame {
    /// Its name, mangled where `mangled`; `None` where nothing says it.
    pub(super) raw: Option<Arc<str>>,
    /// Is it the linkage name?
    pub(super) mangled: bool,
    /// Where in it.
    pub(super) source: Option<SourceLine>,
    /// Line on which it starts; 0 where unknown.
    pub(super) start_line: u32,
}

/// What debug information says of an address.
#[derive(Clone, Debug)]
pub(super) struct DwarfLocation {
    /// Innermost inlined function first, the function that has the code last; never empty.
    pub(super) frames: Vec<DwarfFrame>,
    /// The unit's language.
    pub(super) language: Option<DwLang>,
}

impl DwarfIndex {
    /// Reads the index of a file whose executable segments are `code`.
    pub(super) fn build(
        sections: &Sections<'_>,
        endian: RunTimeEndian,
        code: &[Range<u64>],
    ) -> Self {
        let dwarf = sections::borrow(sections, endian);
        Self {
            units: UnitIndex::build(&dwarf, code),
            functions: HashMap::new(),
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.units.bytes()
            + self
                .functions
                .values()
                .map(FunctionIndex::bytes)
                .sum::<usize>()
    }

    /// What the file's debug information says of `addresses` (sorted, each once), parallel to them; and
    /// whether everything was looked at.
    pub(super) fn resolve(
        &mut self,
        sections: &Sections<'_>,
        endian: RunTimeEndian,
        code: &[Range<u64>],
        addresses: &[u64],
        names: &mut Names,
    ) -> (Vec<Option<DwarfLocation>>, bool) {
        let dwarf = sections::borrow(sections, endian);
        let mut batch = Batch {
            dwarf: &dwarf,
            code,
            index: self,
            names,
            units: HashMap::new(),
            functions: HashMap::new(),
            paths: HashMap::new(),
            work: Work::new(WORK_LIMIT),
        };
        let found = batch.resolve(addresses);
        (found, !batch.work.exhausted())
    }
}

/// Name, whether it is mangled, and first line of a function.
type Named = (Option<Arc<str>>, bool, u32);

struct Batch<'batch, 'data> {
    dwarf: &'batch Dwarf<'data>,
    code: &'batch [Range<u64>],
    index: &'batch mut DwarfIndex,
    names: &'batch mut Names,
    units: HashMap<u32, Rc<Unit<'data>>>,
    /// By the entry's place in `.debug_info`.
    functions: HashMap<usize, Named>,
    paths: HashMap<(u32, u64), Option<Arc<str>>>,
    work: Work,
}

impl<'data> Batch<'_, 'data> {
    fn resolve(&mut self, addresses: &[u64]) -> Vec<Option<DwarfLocation>> {
        let mut found: Vec<Option<DwarfLocation>> = vec![None; addresses.len()];
        let claims: Vec<Vec<u32>> = addresses
            .iter()
            .map(|address| self.index.units.at(*address).take(MAX_CLAIMS).collect())
            .collect();
        for round in 0..MAX_CLAIMS {
            let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (place, claims) in claims.iter().enumerate() {
                if let Some(unit) = claims.get(round)
                    && found[place]
                        .as_ref()
                        .is_none_or(|found| found.frames[0].raw.is_none())
                {
                    groups.entry(*unit).or_default().push(place);
                }
            }
            for (unit, places) in groups {
                self.unit_locations(unit, addresses, &places, &mut found);
            }
        }
        found
    }

    fn unit(&mut self, number: u32) -> Option<Rc<Unit<'data>>> {
        if let Some(unit) = self.units.get(&number) {
            return Some(Rc::clone(unit));
        }
        let header = self
            .dwarf
            .unit_header(self.index.units.offset(number)?)
            .ok()?;
        let unit = Rc::new(self.dwarf.unit(header).ok()?);
        if self.units.len() >= MAX_UNITS_HELD {
            self.units.clear();
        }
        self.units.insert(number, Rc::clone(&unit));
        Some(unit)
    }

    /// Resolves the addresses at `places`, which the unit claims.
    fn unit_locations(
        &mut self,
        number: u32,
        addresses: &[u64],
        places: &[usize],
        found: &mut [Option<DwarfLocation>],
    ) {
        if self.work.exhausted() {
            return;
        }
        let Some(unit) = self.unit(number) else {
            return;
        };
        let language = language(&unit);
        let wanted: Vec<u64> = places.iter().map(|place| addresses[*place]).collect();
        let rows = lines::rows(&unit, &wanted, self.code, &mut self.work);
        let index = self
            .index
            .functions
            .entry(number)
            .or_insert_with(|| FunctionIndex::build(self.dwarf, &unit, &mut self.work));
        let functions: Vec<Option<UnitOffset>> =
            wanted.iter().map(|address| index.at(*address)).collect();
        let mut calls: Option<(UnitOffset, InlinedCalls<'data>)> = None;
        for (((place, address), row), function) in
            places.iter().zip(&wanted).zip(rows).zip(functions)
        {
            let source =
                row.and_then(|row| self.source(number, &unit, row.file, row.line, row.column));
            let Some(function) = function else {
                // Code of the unit outside of every function: its line is known all the same.
                if found[*place].is_none() && source.is_some() {
                    let frame = DwarfFrame {
                        raw: None,
                        mangled: false,
                        source,
                        start_line: 0,
                    };
                    found[*place] = Some(DwarfLocation {
                        frames: vec![frame],
                        language,
                    });
                }
                continue;
            };
            if calls.as_ref().is_none_or(|(of, _)| *of != function) {
                calls = Some((
                    function,
                    InlinedCalls::read(self.dwarf, &unit, function, &mut self.work),
                ));
            }
            let chain = match &calls {
                Some((_, calls)) => calls.at(*address, &mut self.work),
                None => Vec::new(),
            };
            // Outermost first: each function's line is that of the call to the next one.
            let mut frames = Vec::with_capacity(chain.len() + 1);
            let mut named = self.function(number, &unit, EntryReference::Unit(function));
            for call in chain {
                let at = self.source(
                    number,
                    &unit,
                    call.call_file,
                    call.call_line,
                    call.call_column,
                );
                frames.push(frame(named, at));
                named = match call.origin.as_ref().and_then(EntryReference::of) {
                    Some(origin) => self.function(number, &unit, origin),
                    None => (None, false, 0),
                };
            }
            frames.push(frame(named, source));
            frames.reverse();
            found[*place] = Some(DwarfLocation { frames, language });
        }
    }

    fn source(
        &mut self,
        number: u32,
        unit: &Unit<'data>,
        file: u64,
        line: u32,
        column: u32,
    ) -> Option<SourceLine> {
        let (dwarf, names) = (self.dwarf, &mut *self.names);
        let path = self.paths.entry((number, file)).or_insert_with(|| {
            let path = lines::path(dwarf, unit, file)?;
            Some(names.text(&path))
        });
        path.clone().map(|file| SourceLine { file, line, column })
    }

    fn function(&mut self, number: u32, unit: &Rc<Unit<'data>>, entry: EntryReference) -> Named {
        let place = match entry {
            EntryReference::Unit(offset) => self
                .index
                .units
                .offset(number)
                .map(|start| DebugInfoOffset(start.0.saturating_add(offset.0))),
            EntryReference::Info(offset) => Some(offset),
        };
        let Some(place) = place else {
            return (None, false, 0);
        };
        if let Some(known) = self.functions.get(&place.0) {
            return known.clone();
        }
        let start = match entry {
            EntryReference::Unit(offset) => Some((Rc::clone(unit), offset)),
            EntryReference::Info(offset) => self.entry(offset),
        };
        let named = start.map_or((None, false, 0), |(unit, offset)| {
            let facts = FunctionFacts::read(self.dwarf, unit, offset, |offset| self.entry(offset));
            let raw = facts.linkage_name.or(facts.name);
            let raw = raw.map(|raw| self.names.raw(raw.slice()));
            (raw, facts.linkage_name.is_some(), facts.start_line)
        });
        self.functions.insert(place.0, named.clone());
        named
    }

    /// The unit that holds an entry, and the entry's place in it.
    fn entry(&mut self, offset: DebugInfoOffset) -> Option<(Rc<Unit<'data>>, UnitOffset)> {
        let number = self.index.units.holding(offset)?;
        let unit = self.unit(number)?;
        let within = offset.to_unit_offset(&unit.header)?;
        Some((unit, within))
    }
}

fn frame((raw, mangled, start_line): Named, source: Option<SourceLine>) -> DwarfFrame {
    DwarfFrame {
        raw,
        mangled,
        source,
        start_line,
    }
}

fn language(unit: &Unit<'_>) -> Option<DwLang> {
    let mut entries = unit.entries_raw(None).ok()?;
    let abbreviation = entries.read_abbreviation().ok()??;
    for specification in abbreviation.attributes() {
        let attribute = entries.read_attribute(*specification).ok()?;
        if attribute.name() == dw::DW_AT_language {
            return match attribute.value() {
                gimli::AttributeValue::Language(language) => Some(language),
                _ => None,
            };
        }
    }
    None
}
