//! Source lines of functions: where in a function the samples are.
//!
//! Merged spans have no lines, so that windows are read one by one: the newest of a selection, as many as a query asks for.
//! A line that is not known (0) is none: its samples are in no row.

use hashbrown::{HashMap, HashSet};
use serde::Serialize;

use super::engine::QueryError;
use super::filter::Filter;
use super::kind::Kind;
use super::names::{FrameIndex, LocationFrames, Names};
use super::run::Run;
use crate::profile::{Profile, ProfileKind, StackIndex, samples_of};

/// Lines that are told apart; samples of later ones are not counted.
const MAX_LINES: usize = 200_000;

/// The answer. Numbers are samples of the windows that were read.
#[derive(Debug, Serialize)]
pub(super) struct LineList {
    /// What is measured.
    r#type: &'static str,
    /// Time that one sample stands for, in ns.
    period_ns: u64,
    /// All samples.
    samples: u64,
    /// How many windows were read.
    windows: usize,
    /// The lines, the one with the most samples first.
    lines: Vec<LineRow>,
}

#[derive(Debug, Serialize)]
struct LineRow {
    name: String,
    module: String,
    file: String,
    line: u32,
    /// Samples in the line itself, and in what it calls too.
    #[serde(rename = "self")]
    own: u64,
    total: u64,
}

/// Time of a line, in ns.
struct LineTime {
    frame: FrameIndex,
    line: u32,
    own: u64,
    total: u64,
    /// Number of the stack that was counted last: a line counts once a stack.
    last: u64,
}

/// Lines while profiles are added.
pub(super) struct LineCounts {
    kind: ProfileKind,
    names: Names,
    lines: Vec<LineTime>,
    places: HashMap<(FrameIndex, u32), usize>,
    stacks: u64,
    time: u64,
    quantum: Option<u64>,
    windows: usize,
}

impl LineCounts {
    /// None yet, of profiles of this kind; their names may take about so many bytes.
    pub(super) fn new(kind: ProfileKind, name_bytes: usize) -> Self {
        Self {
            kind,
            names: Names::new(name_bytes),
            lines: Vec::new(),
            places: HashMap::new(),
            stacks: 0,
            time: 0,
            quantum: None,
            windows: 0,
        }
    }

    /// Adds the samples that `filter` keeps, if the profile is of the kind that is wanted.
    ///
    /// # Errors
    /// The run is to end.
    pub(super) fn add(
        &mut self,
        profile: &Profile,
        filter: &Filter,
        run: &Run,
    ) -> Result<(), QueryError> {
        if !self.kind.includes(profile.kind.kind) {
            return Ok(());
        }
        self.windows += 1;
        self.quantum
            .get_or_insert(self.kind.quantum_by(profile.kind));
        let wanted = filter.over(profile);
        // In order of their first sample: which lines have room does not depend on chance.
        let mut places: HashMap<StackIndex, usize> = HashMap::new();
        let mut times: Vec<(StackIndex, u64)> = Vec::new();
        for sample in profile.samples.iter().filter(|sample| wanted.keeps(sample)) {
            let place = *places.entry(sample.stack).or_insert(times.len());
            match times.get_mut(place) {
                Some((_, sum)) => *sum = sum.saturating_add(sample.value),
                None => times.push((sample.stack, sample.value)),
            }
        }
        let mut frames = LocationFrames::new(profile);
        let mut known: Vec<Option<Vec<usize>>> = vec![None; profile.locations.len()];
        let mut pace = run.pace();
        for (stack, time) in times {
            self.stacks += 1;
            self.time = self.time.saturating_add(time);
            let stack = profile.stacks.get(stack);
            pace.spend(stack.len() + 1)?;
            for location in stack {
                let location = location.0 as usize;
                let Some(places) = known.get_mut(location) else {
                    continue;
                };
                let places =
                    places.get_or_insert_with(|| self.places_of(profile, &mut frames, location));
                for place in &*places {
                    let line = &mut self.lines[*place];
                    if line.last != self.stacks {
                        line.last = self.stacks;
                        line.total = line.total.saturating_add(time);
                    }
                }
            }
            // The leaf comes first, in it the innermost function last.
            let leaf = stack
                .first()
                .and_then(|leaf| known.get(leaf.0 as usize)?.as_ref()?.last());
            if let Some(place) = leaf {
                let line = &mut self.lines[*place];
                line.own = line.own.saturating_add(time);
            }
        }
        Ok(())
    }

    /// The lines of a location, outermost first; none where its names have no room.
    fn places_of(
        &mut self,
        profile: &Profile,
        frames: &mut LocationFrames<'_>,
        location: usize,
    ) -> Vec<usize> {
        let steps = frames.get(location, &mut self.names).unwrap_or_default();
        let lines = profile.locations[location].lines.iter().rev();
        let lines = lines.filter(|line| (line.function.0 as usize) < profile.functions.len());
        let pairs = steps.iter().zip(lines);
        let places = pairs.filter_map(|(step, line)| self.place(step.frame(), line.line));
        places.collect()
    }

    fn place(&mut self, frame: FrameIndex, line: u32) -> Option<usize> {
        if let Some(place) = self.places.get(&(frame, line)) {
            return Some(*place);
        }
        if self.lines.len() >= MAX_LINES {
            return None;
        }
        let place = self.lines.len();
        self.places.insert((frame, line), place);
        self.lines.push(LineTime {
            frame,
            line,
            own: 0,
            total: 0,
            last: 0,
        });
        Some(place)
    }

    /// The `limit` first lines of the function with this name, or where none is named the first line of each function; only
    /// of functions in `module` where that is given.
    pub(super) fn finish(
        mut self,
        function: Option<&str>,
        module: Option<&str>,
        limit: usize,
    ) -> LineList {
        let quantum = self.quantum.unwrap_or(1_000_000_000);
        let names = &self.names;
        self.lines.retain(|line| {
            let frame = names.of_frame(line.frame);
            line.line > 0
                && line.total > 0
                && frame.kind != Kind::Group
                && function.is_none_or(|name| names.of_text(frame.name) == name)
                && module.is_none_or(|name| names.of_text(frame.module) == name)
        });
        self.lines.sort_by(|a, b| {
            let more = (b.own, b.total).cmp(&(a.own, a.total));
            more.then_with(|| names.order(a.frame, b.frame))
                .then(a.line.cmp(&b.line))
        });
        let mut seen = HashSet::new();
        let first = |line: &&LineTime| function.is_some() || seen.insert(line.frame);
        let lines = self.lines.iter().filter(first).take(limit);
        let lines = lines.map(|line| {
            let frame = names.of_frame(line.frame);
            let text = |index| names.of_text(index).to_owned();
            LineRow {
                name: text(frame.name),
                module: text(frame.module),
                file: text(frame.file),
                line: line.line,
                own: samples_of(line.own, quantum),
                total: samples_of(line.total, quantum),
            }
        });
        LineList {
            r#type: self.kind.name(),
            period_ns: quantum,
            samples: samples_of(self.time, quantum),
            windows: self.windows,
            lines: lines.collect(),
        }
    }
}
