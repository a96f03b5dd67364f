//! Functions, inlined calls and lines of the addresses of one unit.

use std::rc::Rc;

use gimli::{DebugInfoOffset, DwLang, UnitOffset};
use hashbrown::HashMap;

use super::facts::{EntryReference, FunctionFacts};
use super::functions::FunctionIndex;
use super::held::Units;
use super::inlines::InlinedCalls;
use super::lines::{self, Lines};
use super::sections::{Dwarf, Unit};
use super::split::Skeleton;
use super::units::UnitIndex;
use super::{Batch, DwarfFrame, DwarfIndex, DwarfLocation, Named};
use crate::profile::SourceLine;

/// A unit's lines, with the unit and the file that they belong to.
type LinesOf<'unit, 'data> = (&'unit Dwarf<'data>, &'unit Unit<'data>, &'unit Lines<'data>);

/// A unit whose addresses are resolved.
pub(super) struct OfUnit<'unit, 'data, 'lines> {
    pub(super) number: u32,
    pub(super) unit: &'unit Rc<Unit<'data>>,
    pub(super) language: Option<DwLang>,
    pub(super) lines: Option<LinesOf<'unit, 'lines>>,
}

/// Addresses of a unit, their rows, and their places among all.
pub(super) struct Asked<'asked> {
    pub(super) wanted: &'asked [u64],
    pub(super) rows: &'asked [Option<lines::Row>],
    pub(super) places: &'asked [usize],
}

impl<'data> Batch<'_, '_, '_, 'data> {
    /// Resolves addresses of a unit that lies elsewhere. Was it found?
    pub(super) fn split_locations(
        &mut self,
        (number, unit): (u32, &Unit<'data>),
        skeleton: &Skeleton,
        lines: Option<LinesOf<'_, 'data>>,
        asked: &Asked<'_>,
        found: &mut [Option<DwarfLocation>],
    ) -> bool {
        let Some(files) = self.split else {
            return false;
        };
        let mut is_found = false;
        let (code, names, index) = (self.code, &mut *self.names, &mut *self.index);
        skeleton.open(
            files,
            (self.dwarf, unit),
            &mut self.work,
            |dwarf, opened, at, bytes, work| {
                let mut own = DwarfIndex {
                    units: UnitIndex::of_one(at),
                    supplementary: UnitIndex::default(),
                    functions: HashMap::new(),
                };
                own.functions
                    .extend(index.functions.remove(&number).map(|known| (0, known)));
                let walked = [bytes];
                let mut batch = Batch {
                    dwarf,
                    split: None,
                    code,
                    index: &mut own,
                    names: &mut *names,
                    units: Units::default(),
                    functions: HashMap::new(),
                    paths: HashMap::new(),
                    work: work.over(&walked),
                };
                let of_unit = OfUnit {
                    number: 0,
                    unit: &Rc::new(opened.unit),
                    language: opened.language,
                    lines,
                };
                batch.locate(&of_unit, asked, found);
                let functions = own.functions.remove(&0);
                index
                    .functions
                    .extend(functions.map(|known| (number, known)));
                is_found = true;
            },
        );
        is_found
    }

    /// Resolves the addresses of a unit.
    pub(super) fn locate(
        &mut self,
        of: &OfUnit<'_, 'data, '_>,
        asked: &Asked<'_>,
        found: &mut [Option<DwarfLocation>],
    ) {
        let &OfUnit {
            number,
            unit,
            language,
            ..
        } = of;
        let wanted = asked.wanted;
        if !self.index.functions.contains_key(&number) {
            let index = FunctionIndex::build(self.dwarf, unit, &mut self.work);
            // What the budget ended is not all there is.
            if self.work.is_cut() {
                return;
            }
            self.index.functions.insert(number, index);
        }
        let functions: Vec<Option<UnitOffset>> = wanted
            .iter()
            .map(|address| {
                let functions = self.index.functions.get(&number)?;
                functions.at(*address, &mut self.work)
            })
            .collect();
        let mut calls: Option<(UnitOffset, InlinedCalls<'data>)> = None;
        for (((place, address), row), function) in asked
            .places
            .iter()
            .zip(wanted)
            .zip(asked.rows)
            .zip(functions)
        {
            if self.work.is_cut() {
                break;
            }
            let source = row.and_then(|row| self.source(of, row.file, row.line, row.column));
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
                if let Some((_, calls)) = calls.take() {
                    calls.release(&mut self.work);
                }
                let read = InlinedCalls::read(self.dwarf, unit, function, wanted, &mut self.work);
                calls = Some((function, read));
            }
            let chain = match &calls {
                Some((_, calls)) => calls.at(*address, &mut self.work),
                None => Vec::new(),
            };
            // Outermost first: each function's line is that of the call to the next one.
            let mut frames = Vec::with_capacity(chain.len() + 1);
            let mut named = self.function(number, unit, EntryReference::Unit(function));
            for call in chain {
                let at = self.source(of, call.call_file, call.call_line, call.call_column);
                frames.push(frame(named, at));
                named = match call.origin.as_ref().and_then(EntryReference::of) {
                    Some(origin) => self.function(number, unit, origin),
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
        of: &OfUnit<'_, 'data, '_>,
        file: u64,
        line: u32,
        column: u32,
    ) -> Option<SourceLine> {
        let path = self.paths.entry((of.number, file)).or_insert_with(|| {
            let (dwarf, unit, lines) = of.lines?;
            let path = lines::path(dwarf, unit, lines, file, &mut self.work)?;
            Some(self.names.text(&path))
        });
        path.clone().map(|file| SourceLine { file, line, column })
    }

    fn function(&mut self, number: u32, unit: &Rc<Unit<'data>>, entry: EntryReference) -> Named {
        let (supplementary, place) = match entry {
            EntryReference::Unit(offset) => {
                let Some(start) = self.index.units.offset(number) else {
                    return (None, false, 0);
                };
                (false, DebugInfoOffset(start.0.saturating_add(offset.0)))
            }
            EntryReference::Info(offset) => (false, offset),
            EntryReference::Supplementary(offset) => (true, offset),
        };
        if let Some(known) = self.functions.get(&(supplementary, place.0)) {
            return known.clone();
        }
        let start = match entry {
            EntryReference::Unit(offset) => Some((Rc::clone(unit), offset)),
            _ => self
                .units
                .entry(self.dwarf, self.index, supplementary, place, &mut self.work),
        };
        let named = start.map_or((None, false, 0), |start| {
            let facts = FunctionFacts::read(
                self.dwarf,
                supplementary,
                start,
                &mut self.work,
                |supplementary, at, work| {
                    self.units
                        .entry(self.dwarf, self.index, supplementary, at, work)
                },
            );
            let raw = facts.linkage_name.or(facts.name);
            let raw = raw.map(|raw| self.names.raw(raw.slice()));
            (raw, facts.linkage_name.is_some(), facts.start_line)
        });
        self.functions
            .insert((supplementary, place.0), named.clone());
        named
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
