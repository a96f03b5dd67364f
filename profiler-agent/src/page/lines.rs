//! Source lines of functions: where in a function the samples are.
//!
//! Merged spans have no lines, so that windows are read one by one: the newest of a selection, as many as a query asks for.

use hashbrown::{HashMap, HashSet};
use serde::Serialize;

use super::filter::Filter;
use super::kind::Kind;
use super::names::{FrameIndex, LocationFrames, Names};
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
    /// None yet, of profiles of this kind.
    pub(super) fn new(kind: ProfileKind) -> Self {
        Self {
            kind,
            names: Names::default(),
            lines: Vec::new(),
            places: HashMap::new(),
            stacks: 0,
            time: 0,
            quantum: None,
            windows: 0,
        }
    }

    /// Adds the samples that `filter` keeps, if the profile is of the kind that is wanted.
    pub(super) fn add(&mut self, profile: &Profile, filter: &Filter) {
        if !self.kind.includes(profile.kind.kind) {
            return;
        }
        self.windows += 1;
        self.quantum.get_or_insert(match self.kind {
            ProfileKind::OnCpu => profile.kind.quantum(),
            ProfileKind::OffCpu | ProfileKind::Wall => 1,
        });
        let places = self.places_of(profile);
        let wanted = filter.over(profile);
        let mut times: HashMap<StackIndex, u64> = HashMap::new();
        for sample in profile.samples.iter().filter(|sample| wanted.keeps(sample)) {
            let sum = times.entry(sample.stack).or_default();
            *sum = sum.saturating_add(sample.value);
        }
        for (stack, time) in times {
            self.stacks += 1;
            self.time = self.time.saturating_add(time);
            let stack = profile.stacks.get(stack);
            for location in stack {
                for place in places.get(location.0 as usize).into_iter().flatten() {
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
                .and_then(|leaf| places.get(leaf.0 as usize)?.last());
            if let Some(place) = leaf {
                let line = &mut self.lines[*place];
                line.own = line.own.saturating_add(time);
            }
        }
    }

    /// The lines of each location, outermost first.
    fn places_of(&mut self, profile: &Profile) -> Vec<Vec<usize>> {
        let frames = LocationFrames::new(profile, &mut self.names);
        let mut all = Vec::with_capacity(profile.locations.len());
        for (index, location) in profile.locations.iter().enumerate() {
            let known = location.lines.iter().rev();
            let known = known.filter(|line| (line.function.0 as usize) < profile.functions.len());
            let pairs = frames.get(index).iter().zip(known);
            let places = pairs.filter_map(|(step, line)| self.place(step.frame(), line.line));
            all.push(places.collect());
        }
        all
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

    /// The `limit` first lines of the function with this name, or where none is named the first line of each function.
    pub(super) fn finish(mut self, function: Option<&str>, limit: usize) -> LineList {
        let quantum = self.quantum.unwrap_or(1_000_000_000);
        let names = &self.names;
        self.lines.retain(|line| {
            let frame = names.of_frame(line.frame);
            line.line > 0
                && line.total > 0
                && frame.kind != Kind::Group
                && function.is_none_or(|name| names.of_text(frame.name) == name)
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
