//! A set of stacks while profiles are added to it, one after the other.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};

use super::filter::Filter;
use super::grouping::Grouping;
use super::kind::Kind;
use super::labels::LabelCounts;
use super::names::{Frame, FrameIndex, LocationFrames, Names, Step};
use super::stacks::{Flat, Side, StackSet};
use crate::profile::distinct::Distinct;
use crate::profile::{LabelSet, Process, Profile, ProfileKind, StackIndex, samples_of};

/// Frames of a stack that are kept, from the root on; the kernel side gives fewer, inlined frames and
/// strange files may give more.
const MAX_DEPTH: usize = 4096;

/// Values of a label that are told apart as groups: a label may have a value for each request.
const MAX_LABEL_GROUPS: usize = 1_000;

/// The set while profiles are added.
pub(super) struct StackSetBuilder {
    names: Names,
    stacks: Flat,
    /// Time of each stack per side, in ns.
    times: Vec<[u64; 2]>,
    /// Indices into `stacks`, by content.
    distinct: HashTable<u32>,
    hasher: DefaultHashBuilder,
    max_steps: usize,
    overfull: FrameIndex,
    root: FrameIndex,
    grouping: Grouping,
    kind: ProfileKind,
    /// Time that one sample stands for, in ns.
    quantum: Option<u64>,
    labels: LabelCounts,
    attributes: LabelCounts,
    /// Groups by a label's value so far.
    label_groups: HashSet<Arc<str>>,
}

impl StackSetBuilder {
    /// The empty set, whose stacks may have this many frames together; a stack that has no room becomes
    /// one frame that says so.
    pub(super) fn new(kind: ProfileKind, grouping: Grouping, max_steps: usize) -> Self {
        let mut names = Names::default();
        let root = names.group("all");
        let overfull = Frame {
            name: names.plain("[too many stacks]"),
            module: names.plain(""),
            file: names.plain(""),
            kind: Kind::Broken,
        };
        let overfull = names.frame(overfull);
        Self {
            names,
            stacks: Flat::default(),
            times: Vec::new(),
            distinct: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            max_steps,
            overfull,
            root,
            grouping,
            kind,
            quantum: None,
            labels: LabelCounts::default(),
            attributes: LabelCounts::default(),
            label_groups: HashSet::new(),
        }
    }

    /// Adds the samples that `filter` keeps, if the profile is of the kind that is wanted.
    pub(super) fn add(&mut self, profile: &Profile, filter: &Filter, side: Side) {
        if !self.kind.includes(profile.kind.kind) {
            return;
        }
        self.quantum.get_or_insert(match self.kind {
            ProfileKind::OnCpu => profile.kind.quantum(),
            ProfileKind::OffCpu | ProfileKind::Wall => 1,
        });
        let frames = LocationFrames::new(profile, &mut self.names);
        let wanted = filter.over(profile);
        if side == Side::Shown {
            let kept = profile.samples.iter().filter(|sample| wanted.keeps(sample));
            let times = kept.clone().map(|sample| (sample.labels.0, sample.value));
            self.labels.add(profile, times);
            let times = kept.map(|sample| (sample.thread.0, sample.value));
            self.attributes.add_threads(profile, times);
        }
        // Threads of one group are one; so are labels.
        let mut groups: Distinct<Vec<Step>> = Distinct::default();
        let grouping = self.grouping.clone();
        let of_threads: Vec<Option<usize>> = profile
            .threads
            .iter()
            .map(|thread| {
                let process = profile.processes.get(thread.process as usize)?;
                Some(groups.intern(self.group(&grouping, process, &thread.name)) as usize)
            })
            .collect();
        let of_labels: Option<Vec<usize>> = match &grouping {
            Grouping::Label(key) => {
                let sets = profile.label_sets.iter();
                Some(
                    sets.map(|set| groups.intern(self.label_group(key, set)) as usize)
                        .collect(),
                )
            }
            _ => None,
        };
        // Samples that differ in thread, labels or link alone are added up before their frames are looked at.
        let mut places: HashMap<(usize, StackIndex), usize> = HashMap::new();
        let mut sums: Vec<(usize, StackIndex, u64)> = Vec::new();
        for sample in profile.samples.iter().filter(|sample| wanted.keeps(sample)) {
            let Some(Some(group)) = of_threads.get(sample.thread.0 as usize) else {
                continue;
            };
            let group = match &of_labels {
                Some(sets) => sets.get(sample.labels.0 as usize).unwrap_or(group),
                None => group,
            };
            let place = *places.entry((*group, sample.stack)).or_insert(sums.len());
            match sums.get_mut(place) {
                Some((_, _, sum)) => *sum = sum.saturating_add(sample.value),
                None => sums.push((*group, sample.stack, sample.value)),
            }
        }
        let groups = groups.into_values();
        let mut stack = Vec::new();
        for (group, index, time) in sums {
            stack.clone_from(&groups[group]);
            for location in profile.stacks.get(index).iter().rev() {
                stack.extend_from_slice(frames.get(location.0 as usize));
            }
            stack.truncate(MAX_DEPTH);
            let index = self.index(&mut stack, groups[group].len());
            let sum = &mut self.times[index as usize][side as usize];
            *sum = sum.saturating_add(time);
        }
    }

    fn index(&mut self, stack: &mut Vec<Step>, group: usize) -> u32 {
        match self.find(stack) {
            Some(index) => index,
            None if self.stacks.steps() + stack.len() <= self.max_steps => self.insert(stack),
            None => {
                stack.truncate(group);
                stack.push(Step::new(self.overfull, false));
                // As many of these as there are groups: bounded as the processes and threads are.
                self.find(stack).unwrap_or_else(|| self.insert(stack))
            }
        }
    }

    fn find(&self, stack: &[Step]) -> Option<u32> {
        let hash = self.hasher.hash_one(stack);
        self.distinct
            .find(hash, |index| self.stacks.get(*index) == stack)
            .copied()
    }

    fn insert(&mut self, stack: &[Step]) -> u32 {
        let index = self.times.len() as u32;
        self.stacks.push(stack);
        self.times.push([0; 2]);
        let (stacks, hasher) = (&self.stacks, &self.hasher);
        let hash = hasher.hash_one(stack);
        self.distinct
            .insert_unique(hash, index, |index| hasher.hash_one(stacks.get(*index)));
        index
    }

    /// The frames that the stacks of a thread start with.
    fn group(&mut self, grouping: &Grouping, process: &Process, thread: &str) -> Vec<Step> {
        let below = match grouping {
            Grouping::None | Grouping::Label(_) => return Vec::new(),
            Grouping::Service => None,
            Grouping::Thread => Some(self.names.group(thread)),
            Grouping::Process => {
                let name = format!("{} {}", process.key.pid, process.comm);
                Some(self.names.group(&name))
            }
        };
        let service = self.names.group(process.service());
        let frames = std::iter::once(service).chain(below);
        frames.map(|frame| Step::new(frame, false)).collect()
    }

    /// The frame that the stacks of samples with these labels start with: the value of the key.
    fn label_group(&mut self, key: &str, set: &LabelSet) -> Vec<Step> {
        let found = set.labels.iter().find(|label| *label.key == *key);
        let name = match found.map(|label| &label.value) {
            None => format!("(no {key})"),
            Some(value) if self.label_groups.contains(value) => value.to_string(),
            Some(value) if self.label_groups.len() < MAX_LABEL_GROUPS => {
                self.label_groups.insert(Arc::clone(value));
                value.to_string()
            }
            Some(_) => format!("(other {key})"),
        };
        vec![Step::new(self.names.group(&name), false)]
    }

    /// The set, sorted by what is shown, whatever came first, and summed up. Running sums of time are made samples: a stack's
    /// remainder goes into the next, so that the whole is right whatever was sampled at other rates.
    pub(super) fn finish(self) -> StackSet {
        let quantum = self.quantum.unwrap_or(1_000_000_000);
        let order = self.stacks.sorted(&self.names);
        let mut sums = Vec::with_capacity(order.len() + 1);
        let mut sum = [0u64; 2];
        sums.push(sum);
        for stack in &order {
            for (sum, time) in sum.iter_mut().zip(self.times[*stack as usize]) {
                *sum = sum.saturating_add(time);
            }
            sums.push(sum.map(|time| samples_of(time, quantum)));
        }
        StackSet {
            names: Arc::new(self.names),
            stacks: self.stacks,
            order,
            sums,
            root: self.root,
            labels: Arc::new(self.labels),
            attributes: Arc::new(self.attributes),
            kind: self.kind,
            quantum,
        }
    }
}
