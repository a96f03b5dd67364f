//! Profiles as a sorted set of distinct stacks: what flame graphs and tables are cut from.
//!
//! Profiles are added one after the other, so that a long range needs memory for its distinct stacks alone:
//! four bytes a frame. Sorted by their frames from the root on, the stacks below any node of the flame graph
//! are neighbours: a node is a [`Span`] of them, its total a difference of two running sums, its children are
//! found by search. No tree is built, however many paths there are.
//!
//! Two sides are counted: what is looked at, and in a comparison its base. Time is added up, and told as samples of one
//! rate: that of the first profile. Of time off a CPU each nanosecond is a sample.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::filter::Filter;
use super::kind::Kind;
use super::labels::LabelCounts;
use super::names::{Frame, FrameIndex, LocationFrames, Names, Step};
use super::query::Grouping;
use crate::profile::distinct::Distinct;
use crate::profile::{Process, Profile, ProfileKind, StackIndex, samples_of};

/// Which of the two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What is looked at.
    Shown = 0,
    /// What it is compared with.
    Base = 1,
}

/// Samples per side.
pub(super) type Counts = [u64; 2];

/// Frames of a stack that are kept, from the root on; the kernel side gives fewer, inlined frames and
/// strange files may give more.
const MAX_DEPTH: usize = 4096;

/// Stacks, flat.
#[derive(Debug, Default)]
struct Flat {
    steps: Vec<Step>,
    ends: Vec<usize>,
}

impl Flat {
    fn get(&self, stack: u32) -> &[Step] {
        let stack = stack as usize;
        let start = if stack == 0 { 0 } else { self.ends[stack - 1] };
        &self.steps[start..self.ends[stack]]
    }
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
    root: FrameIndex,
    grouping: Grouping,
    kind: ProfileKind,
    /// Time that one sample stands for, in ns.
    quantum: Option<u64>,
    labels: LabelCounts,
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
        // Threads of one group are one.
        let mut groups: Distinct<Vec<Step>> = Distinct::default();
        let of_threads = profile.threads.iter().map(|thread| {
            let process = profile.processes.get(thread.process as usize)?;
            Some(groups.intern(self.group(process, &thread.name)) as usize)
        });
        let of_threads: Vec<Option<usize>> = of_threads.collect();
        if side == Side::Shown {
            let kept = profile.samples.iter().filter(|sample| wanted.keeps(sample));
            let times = kept.map(|sample| (sample.labels.0, sample.value));
            self.labels.add(profile, times);
        }
        // Samples that differ in thread, labels or link alone are added up before their frames are looked at.
        let mut places: HashMap<(usize, StackIndex), usize> = HashMap::new();
        let mut sums: Vec<(usize, StackIndex, u64)> = Vec::new();
        for sample in profile.samples.iter().filter(|sample| wanted.keeps(sample)) {
            let Some(Some(group)) = of_threads.get(sample.thread.0 as usize) else {
                continue;
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
            None if self.stacks.steps.len() + stack.len() <= self.max_steps => self.insert(stack),
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
        self.stacks.steps.extend_from_slice(stack);
        self.stacks.ends.push(self.stacks.steps.len());
        self.times.push([0; 2]);
        let (stacks, hasher) = (&self.stacks, &self.hasher);
        let hash = hasher.hash_one(stack);
        self.distinct
            .insert_unique(hash, index, |index| hasher.hash_one(stacks.get(*index)));
        index
    }

    /// The frames that the stacks of a thread start with.
    fn group(&mut self, process: &Process, thread: &str) -> Vec<Step> {
        let mut group = Vec::new();
        if self.grouping != Grouping::None {
            group.push(Step::new(self.names.group(process.service()), false));
        }
        if self.grouping == Grouping::Thread {
            group.push(Step::new(self.names.group(thread), false));
        }
        group
    }

    /// The set, sorted by what is shown, whatever came first, and summed up. Running sums of time are made samples: a stack's
    /// remainder goes into the next, so that the whole is right whatever was sampled at other rates.
    pub(super) fn finish(self) -> StackSet {
        let quantum = self.quantum.unwrap_or(1_000_000_000);
        let ranks = self.names.ranks();
        let mut order: Vec<u32> = (0..self.times.len() as u32).collect();
        let stacks = &self.stacks;
        let steps = |stack: &u32| {
            let steps = stacks.get(*stack).iter();
            steps.map(|step| (ranks[step.frame() as usize], step.inlined()))
        };
        order.sort_unstable_by(|a, b| steps(a).cmp(steps(b)));
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
            names: self.names,
            stacks: self.stacks,
            order,
            sums,
            root: self.root,
            labels: self.labels,
            kind: self.kind,
            quantum,
        }
    }
}

/// The sorted set.
#[derive(Debug)]
pub(super) struct StackSet {
    pub(super) names: Names,
    stacks: Flat,
    /// Indices into `stacks`, sorted by frames.
    order: Vec<u32>,
    /// Samples of all stacks before a place in `order`.
    sums: Vec<Counts>,
    root: FrameIndex,
    /// The labels of the side that is looked at.
    pub(super) labels: LabelCounts,
    /// What is measured.
    pub(super) kind: ProfileKind,
    /// Time that one sample stands for, in ns.
    pub(super) quantum: u64,
}

/// A node of the flame graph: the stacks that begin with the same frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Its frame.
    pub(super) frame: FrameIndex,
    /// Frames from the root to it; the root, which is in no stack, has none.
    pub(super) depth: usize,
    from: usize,
    until: usize,
}

impl StackSet {
    /// The root: all stacks.
    pub(super) fn root(&self) -> Span {
        Span {
            frame: self.root,
            depth: 0,
            from: 0,
            until: self.order.len(),
        }
    }

    /// Samples of all stacks.
    pub(super) fn whole(&self) -> Counts {
        self.total(&self.root())
    }

    /// Samples at and below a node.
    pub(super) fn total(&self, span: &Span) -> Counts {
        let (before, after) = (self.sums[span.from], self.sums[span.until]);
        [after[0] - before[0], after[1] - before[1]]
    }

    /// Samples that end at a node.
    pub(super) fn own(&self, span: &Span) -> Counts {
        let until = self.first_longer(span);
        self.total(&Span { until, ..*span })
    }

    /// A node's share of the whole; in a comparison the sum of its shares of both wholes, so that
    /// sides of different length count the same.
    pub(super) fn weight(&self, span: &Span) -> f64 {
        let (total, whole) = (self.total(span), self.whole());
        let share = |side: usize| total[side] as f64 / whole[side].max(1) as f64;
        share(0) + share(1)
    }

    /// Was the node's frame inlined into the one before in every stack?
    pub(super) fn inlined(&self, span: &Span) -> bool {
        let Some(place) = span.depth.checked_sub(1) else {
            return false;
        };
        (span.from..span.until).all(|at| self.stack(at)[place].inlined())
    }

    /// The node's children that weigh at least `least`, the heaviest first, and how many weigh less.
    pub(super) fn children(&self, span: &Span, least: f64) -> (Vec<Span>, usize) {
        let mut heavy = Vec::new();
        let mut light = 0;
        let mut from = self.first_longer(span);
        while from < span.until {
            let frame = self.stack(from)[span.depth].frame();
            let until = self.end_of(from, span.until, span.depth, frame);
            let child = Span {
                frame,
                depth: span.depth + 1,
                from,
                until,
            };
            let weight = self.weight(&child);
            if weight >= least {
                heavy.push((weight, child));
            } else {
                light += 1;
            }
            from = until;
        }
        heavy.sort_by(|a, b| {
            let heavier = b.0.total_cmp(&a.0);
            heavier.then_with(|| self.names.order(a.1.frame, b.1.frame))
        });
        (heavy.into_iter().map(|(_, child)| child).collect(), light)
    }

    /// The nodes from the root (not included) along these names; the heaviest where several have the
    /// name. `None` when a name is not there.
    pub(super) fn follow(&self, path: &[String]) -> Option<Vec<Span>> {
        let mut node = self.root();
        path.iter()
            .map(|name| {
                let (children, _) = self.children(&node, 0.0);
                let mut named = children.into_iter();
                node = named.find(|child| self.names.name_of(child.frame) == name)?;
                Some(node)
            })
            .collect()
    }

    /// Every stack's frames, outermost first, with its samples.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[Step], Counts)> {
        (0..self.order.len()).map(|at| {
            let span = Span {
                from: at,
                until: at + 1,
                ..self.root()
            };
            (self.stack(at), self.total(&span))
        })
    }

    /// Frames of all stacks together.
    pub(super) fn steps(&self) -> usize {
        self.stacks.steps.len()
    }

    fn stack(&self, at: usize) -> &[Step] {
        self.stacks.get(self.order[at])
    }

    /// The first of a node's stacks that goes on below it: a stack sorts before its continuations.
    fn first_longer(&self, span: &Span) -> usize {
        let mut at = span.from;
        while at < span.until && self.stack(at).len() == span.depth {
            at += 1;
        }
        at
    }

    /// Behind the last of the stacks from `from` on that have `frame` at `place`: by doubling steps, then by
    /// halving them.
    fn end_of(&self, from: usize, until: usize, place: usize, frame: FrameIndex) -> usize {
        let has = |at: usize| self.stack(at)[place].frame() == frame;
        let mut step = 1;
        let mut low = from;
        let mut high = until;
        while low + step < until {
            if !has(low + step) {
                high = low + step;
                break;
            }
            low += step;
            step *= 2;
        }
        while low + 1 < high {
            let middle = low.midpoint(high);
            if has(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}
