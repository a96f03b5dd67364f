//! A set of stacks while profiles are added to it, one after the other.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};

use super::engine::QueryError;
use super::filter::{Filter, Wanted};
use super::grouping::Grouping;
use super::kind::Kind;
use super::labels::LabelCounts;
use super::names::{FrameIndex, LocationFrames, Names, Step};
use super::run::Run;
use super::stacks::{Flat, Side, StackSet};
use crate::profile::distinct::Distinct;
use crate::profile::{LabelSet, Process, Profile, ProfileKind, StackIndex, samples_of};

/// Frames of a stack that are kept, from the root on; the kernel side gives fewer, inlined frames and
/// strange files may give more.
const MAX_DEPTH: usize = 4096;

/// Values of a label that are told apart as groups: a label may have a value for each request.
const MAX_LABEL_GROUPS: usize = 1_000;

/// What a set may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Frames of its stacks together.
    pub(super) steps: usize,
    /// About the bytes of its names.
    pub(super) name_bytes: usize,
}

/// Names of the frames that the stacks of a group start with.
type Group = Vec<Box<str>>;

/// The samples of a profile that are wanted, by group and stack.
struct Grouped {
    groups: Vec<Group>,
    /// Index into `groups`, stack and time, each pair once.
    sums: Vec<(usize, StackIndex, u64)>,
}

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
    other: FrameIndex,
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
    /// The empty set; a stack that has no room, or whose names have none, becomes one frame that says so, below the groups
    /// that have room.
    pub(super) fn new(kind: ProfileKind, grouping: Grouping, room: Room) -> Self {
        let mut names = Names::new(room.name_bytes);
        let root = names.fixed("all", Kind::Group);
        let overfull = names.fixed("[too many stacks]", Kind::Broken);
        let other = names.fixed("(other)", Kind::Group);
        Self {
            names,
            stacks: Flat::default(),
            times: Vec::new(),
            distinct: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            max_steps: room.steps,
            overfull,
            other,
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
    ///
    /// # Errors
    /// The run is to end.
    pub(super) fn add(
        &mut self,
        profile: &Profile,
        filter: &Filter,
        side: Side,
        run: &Run,
    ) -> Result<(), QueryError> {
        if !self.kind.includes(profile.kind.kind) {
            return Ok(());
        }
        self.quantum
            .get_or_insert(self.kind.quantum_by(profile.kind));
        let wanted = filter.over(profile);
        if side == Side::Shown {
            let kept = profile.samples.iter().filter(|sample| wanted.keeps(sample));
            let times = kept.clone().map(|sample| (sample.labels.0, sample.value));
            self.labels.add(profile, times);
            let times = kept.map(|sample| (sample.thread.0, sample.value));
            self.attributes.add_threads(profile, times);
        }
        let Grouped { groups, sums } = self.grouped(profile, &wanted, run)?;
        let mut frames = LocationFrames::new(profile);
        let mut pace = run.pace();
        let mut stack = Vec::new();
        // In the order of their samples, as all names are: which have room does not depend on where a profile ends.
        let mut starts: Vec<Option<Vec<Step>>> = vec![None; groups.len()];
        for (group, index, time) in sums {
            let start = starts[group].get_or_insert_with(|| self.steps_of(&groups[group]));
            stack.clone_from(start);
            let above = start.len();
            let mut fits = true;
            for location in profile.stacks.get(index).iter().rev() {
                match frames.get(location.0 as usize, &mut self.names) {
                    Some(found) => stack.extend_from_slice(found),
                    None => fits = false,
                }
                if !fits || stack.len() >= MAX_DEPTH {
                    break;
                }
            }
            pace.spend(stack.len() + 1)?;
            stack.truncate(MAX_DEPTH);
            let index = self.index(&mut stack, above, fits);
            let sum = &mut self.times[index as usize][side as usize];
            *sum = sum.saturating_add(time);
        }
        Ok(())
    }

    /// The groups of the samples that are wanted, and the sum of each group and stack: samples that differ in thread, labels
    /// or link alone are added up before their frames are looked at.
    fn grouped(
        &mut self,
        profile: &Profile,
        wanted: &Wanted,
        run: &Run,
    ) -> Result<Grouped, QueryError> {
        // Threads of one group are one; so are labels. A group is asked for when a sample of it is there.
        let mut groups: Distinct<Group> = Distinct::default();
        let grouping = self.grouping.clone();
        let mut of_threads: Vec<Option<usize>> = vec![None; profile.threads.len()];
        let mut of_labels: Vec<Option<usize>> = vec![None; profile.label_sets.len()];
        let mut places: HashMap<(usize, StackIndex), usize> = HashMap::new();
        let mut sums: Vec<(usize, StackIndex, u64)> = Vec::new();
        let mut pace = run.pace();
        for sample in profile.samples.iter().filter(|sample| wanted.keeps(sample)) {
            pace.spend(1)?;
            let thread = profile.threads.get(sample.thread.0 as usize);
            let process = thread.and_then(|thread| profile.processes.get(thread.process as usize));
            let (Some(thread), Some(process)) = (thread, process) else {
                continue;
            };
            let set = profile.label_sets.get(sample.labels.0 as usize);
            let group = match (&grouping, set) {
                // What a process is called is a label of all its samples.
                (Grouping::Label(key), Some(set))
                    if key == Process::SERVICE_NAME && set.get(key).is_none() =>
                {
                    let known = &mut of_threads[sample.thread.0 as usize];
                    *known.get_or_insert_with(|| {
                        groups.intern(self.value_group(key, process.service().into())) as usize
                    })
                }
                (Grouping::Label(key), Some(set)) => {
                    let known = &mut of_labels[sample.labels.0 as usize];
                    *known.get_or_insert_with(|| groups.intern(self.label_group(key, set)) as usize)
                }
                _ => {
                    let known = &mut of_threads[sample.thread.0 as usize];
                    *known.get_or_insert_with(|| {
                        groups.intern(group(&grouping, process, &thread.name)) as usize
                    })
                }
            };
            let place = *places.entry((group, sample.stack)).or_insert(sums.len());
            match sums.get_mut(place) {
                Some((_, _, sum)) => *sum = sum.saturating_add(sample.value),
                None => sums.push((group, sample.stack, sample.value)),
            }
        }
        let groups = groups.into_values();
        Ok(Grouped { groups, sums })
    }

    /// The index of a stack; where it does not fit, that of what stands for those of its group that do not.
    fn index(&mut self, stack: &mut Vec<Step>, group: usize, fits: bool) -> u32 {
        if fits {
            if let Some(index) = self.find(stack) {
                return index;
            }
            if self.stacks.steps() + stack.len() <= self.max_steps {
                return self.insert(stack);
            }
        }
        stack.truncate(group);
        stack.push(Step::new(self.overfull, false));
        // As many of these as there are groups: bounded as their names are.
        self.find(stack).unwrap_or_else(|| self.insert(stack))
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

    /// The frames of a group; that of all others in place of each that has no room.
    fn steps_of(&mut self, group: &[Box<str>]) -> Vec<Step> {
        let names = group.iter();
        let frames = names.map(|name| self.names.group(name).unwrap_or(self.other));
        frames.map(|frame| Step::new(frame, false)).collect()
    }

    /// What the stacks of samples with these labels start with: the value of the key.
    fn label_group(&mut self, key: &str, set: &LabelSet) -> Group {
        let found = set.labels.iter().find(|label| *label.key == *key);
        match found.map(|label| Arc::clone(&label.value)) {
            None => vec![format!("(no {key})").into()],
            Some(value) => self.value_group(key, value),
        }
    }

    /// What the stacks of samples with this value of a label start with.
    fn value_group(&mut self, key: &str, value: Arc<str>) -> Group {
        let is_known = self.label_groups.contains(&value);
        if !is_known && self.label_groups.len() >= MAX_LABEL_GROUPS {
            return vec![format!("(other {key})").into()];
        }
        let name = (*value).into();
        self.label_groups.insert(value);
        vec![name]
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

/// What the stacks of a thread start with.
fn group(grouping: &Grouping, process: &Process, thread: &str) -> Group {
    let below = match grouping {
        Grouping::None | Grouping::Label(_) => return Vec::new(),
        Grouping::Service => None,
        Grouping::Thread => Some(thread.into()),
        Grouping::Process => Some(format!("{} {}", process.key.pid, process.comm).into()),
    };
    std::iter::once(process.service().into())
        .chain(below)
        .collect()
}
