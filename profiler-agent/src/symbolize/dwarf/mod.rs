//! Functions, inlined calls and source lines from DWARF, of a few addresses at a time.
//!
//! A profiler asks for some hundred addresses of a file in its first minute and for a handful in
//! every later one. A resolver that parses all of a file's debug information and keeps it pays for the
//! other millions. Measured with 300 addresses of a Rust program of 115 MB with full debug information, then
//! 20 new ones a window (release build, CPU time):
//!
//! | | first window | later window | resident after |
//! |---|---|---|---|
//! | blazesym 0.2.7, caches kept | 70 to 80 ms | 0 to 10 ms | 111 MB, growing |
//! | blazesym 0.2.7, caches dropped | 80 ms | 30 ms | 88 to 110 MB |
//! | this module | 50 to 60 ms | 0 to 10 ms | 5 MB |
//!
//! It also looks within a process's root only, keeps no file mapped between batches (a truncated one would
//! end the agent by SIGBUS), and reports the line on which a function starts.
//!
//! Here only what an address needs is read, and what is kept is what would be slow to find again:
//!
//! 1. which unit has the address ([`units`], kept: 32 bytes a range);
//! 2. which function of that unit ([`functions`], kept, built when a unit is first asked for: 24 bytes a
//!    function);
//! 3. the inlined calls of that function ([`inlines`]) and the unit's line program ([`lines`]): read
//!    once a batch, not kept;
//! 4. names ([`facts`]), which the symbolizer's own cache keeps.
//!
//! A unit may lie elsewhere, with a skeleton of it in the file ([`split`]).
//!
//! Everything is untrusted: every walk over items draws from one budget a batch ([`work`]), malformed
//! parts are left out, references are followed a bounded number of times.

mod abbreviations;
mod facts;
mod functions;
mod held;
mod inlines;
mod lines;
mod locate;
mod sections;
mod split;
mod unit;
mod units;
mod work;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::DwLang;
use hashbrown::HashMap;

use self::functions::FunctionIndex;
use self::held::{HeldUnit, Units};
use self::lines::Lines;
use self::locate::{Asked, OfUnit};
use self::sections::Dwarf;
pub(super) use self::sections::{DebugSections, NEEDED, SectionBytes, Sections};
pub(super) use self::split::{Package, SplitFiles};
use self::units::UnitIndex;
use self::work::Work;
use super::budget::Budget;
use super::names::Names;
use crate::profile::SourceLine;

/// Units that may claim one address.
const MAX_CLAIMS: usize = 4;

/// What is kept of a file's debug information.
#[derive(Debug)]
pub(super) struct DwarfIndex {
    units: UnitIndex,
    /// Of the supplementary file: its units have no code.
    supplementary: UnitIndex,
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
        sections: &DebugSections<'_>,
        code: &[Range<u64>],
        budget: &mut Budget<'_>,
    ) -> Self {
        let dwarf = sections.dwarf();
        let mut work = Work::new(&sections.files, budget);
        let supplementary = dwarf
            .sup()
            .map(|dwarf| UnitIndex::build(dwarf, &[], &mut work));
        let units = UnitIndex::build(&dwarf, code, &mut work);
        work.let_go();
        Self {
            units,
            supplementary: supplementary.unwrap_or_default(),
            functions: HashMap::new(),
        }
    }

    fn numbers(&self, supplementary: bool) -> &UnitIndex {
        if supplementary {
            &self.supplementary
        } else {
            &self.units
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.units.bytes()
            + self.supplementary.bytes()
            + self
                .functions
                .values()
                .map(FunctionIndex::bytes)
                .sum::<usize>()
    }

    /// What the file's debug information says of `addresses` (sorted, each once), parallel to them, as far
    /// as the budget reaches.
    pub(super) fn resolve(
        &mut self,
        sections: &DebugSections<'_>,
        code: &[Range<u64>],
        addresses: &[u64],
        names: &mut Names,
        split: &dyn SplitFiles,
        budget: &mut Budget<'_>,
    ) -> Vec<Option<DwarfLocation>> {
        let dwarf = sections.dwarf();
        let mut batch = Batch {
            dwarf: &dwarf,
            split: Some(split),
            code,
            index: self,
            names,
            units: Units::default(),
            functions: HashMap::new(),
            paths: HashMap::new(),
            work: Work::new(&sections.files, budget),
        };
        let found = batch.resolve(addresses);
        batch.work.let_go();
        found
    }
}

/// Name, whether it is mangled, and first line of a function.
type Named = (Option<Arc<str>>, bool, u32);

struct Batch<'batch, 'budget, 'time, 'data> {
    dwarf: &'batch Dwarf<'data>,
    /// Where units are of which the file has a skeleton.
    split: Option<&'batch dyn SplitFiles>,
    code: &'batch [Range<u64>],
    index: &'batch mut DwarfIndex,
    names: &'batch mut Names,
    units: Units<'data>,
    /// By whether the entry is in the supplementary file, and by its place.
    functions: HashMap<(bool, usize), Named>,
    paths: HashMap<(u32, u64), Option<Arc<str>>>,
    work: Work<'batch, 'budget, 'time>,
}

impl<'data> Batch<'_, '_, '_, 'data> {
    fn resolve(&mut self, addresses: &[u64]) -> Vec<Option<DwarfLocation>> {
        let mut found: Vec<Option<DwarfLocation>> = vec![None; addresses.len()];
        let claims: Vec<Vec<u32>> = addresses
            .iter()
            .map(|address| self.index.units.at(*address, MAX_CLAIMS, &mut self.work))
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

    fn unit(&mut self, supplementary: bool, number: u32) -> Option<HeldUnit<'data>> {
        self.units.get(
            self.dwarf,
            self.index,
            supplementary,
            number,
            &mut self.work,
        )
    }

    /// Resolves the addresses at `places`, which the unit claims.
    fn unit_locations(
        &mut self,
        number: u32,
        addresses: &[u64],
        places: &[usize],
        found: &mut [Option<DwarfLocation>],
    ) {
        if self.work.is_cut() {
            return;
        }
        let Some(HeldUnit {
            unit,
            lines,
            language,
            skeleton,
        }) = self.unit(false, number)
        else {
            return;
        };
        let wanted: Vec<u64> = places.iter().map(|place| addresses[*place]).collect();
        let lines = lines.and_then(|at| Lines::open(self.dwarf, &unit, at, &mut self.work));
        let rows = lines.as_ref().map_or_else(
            || vec![None; wanted.len()],
            |lines| lines.rows(&wanted, self.code, &mut self.work),
        );
        let lines = lines.as_ref().map(|lines| (self.dwarf, &*unit, lines));
        let asked = Asked {
            wanted: &wanted,
            rows: &rows,
            places,
        };
        if let Some(skeleton) = skeleton
            && self.split_locations((number, &unit), &skeleton, lines, &asked, found)
        {
            return;
        }
        let of_unit = OfUnit {
            number,
            unit: &unit,
            language,
            lines,
        };
        self.locate(&of_unit, &asked, found);
    }
}
