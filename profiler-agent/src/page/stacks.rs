//! Profiles as a sorted set of distinct stacks: what flame graphs and tables are cut from.
//!
//! Profiles are added one after the other, so that a long range needs memory for its distinct stacks alone:
//! four bytes a frame. Sorted by their frames from the root on, the stacks below any node of the flame graph
//! are neighbours: a node is a [`Span`] of them, its total a difference of two running sums, its children are
//! found by search. No tree is built, however many paths there are.
//!
//! Two sides are counted: what is looked at, and in a comparison its base. Time is added up, and told as samples of one
//! rate: that of the first profile. Of time off a CPU each nanosecond is a sample.

use std::sync::Arc;

use super::engine::QueryError;
use super::labels::LabelCounts;
use super::names::{FrameIndex, Names, Step};
use super::run::Run;
use crate::profile::ProfileKind;

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

/// Stacks, flat.
#[derive(Debug, Default)]
pub(super) struct Flat {
    steps: Vec<Step>,
    ends: Vec<usize>,
}

impl Flat {
    pub(super) fn push(&mut self, stack: &[Step]) {
        self.steps.extend_from_slice(stack);
        self.ends.push(self.steps.len());
    }

    /// Frames of all stacks together.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Indices of the stacks, sorted by what their frames show.
    pub(super) fn sorted(&self, names: &Names) -> Vec<u32> {
        let ranks = names.ranks();
        let mut order: Vec<u32> = (0..self.ends.len() as u32).collect();
        let frames = |stack: &u32| {
            let steps = self.get(*stack).iter();
            steps.map(|step| ranks[step.frame() as usize])
        };
        let inlined = |stack: &u32| self.get(*stack).iter().map(|step| step.inlined());
        // By frames first: stacks below a node are neighbours, whatever is inlined in them.
        order.sort_unstable_by(|a, b| {
            let frames = frames(a).cmp(frames(b));
            frames.then_with(|| inlined(a).cmp(inlined(b)))
        });
        order
    }

    pub(super) fn get(&self, stack: u32) -> &[Step] {
        let stack = stack as usize;
        let start = if stack == 0 { 0 } else { self.ends[stack - 1] };
        &self.steps[start..self.ends[stack]]
    }
}

/// The sorted set.
#[derive(Debug)]
pub(super) struct StackSet {
    pub(super) names: Arc<Names>,
    pub(super) stacks: Flat,
    /// Indices into `stacks`, sorted by frames.
    pub(super) order: Vec<u32>,
    /// Samples of all stacks before a place in `order`.
    pub(super) sums: Vec<Counts>,
    pub(super) root: FrameIndex,
    /// The labels of the side that is looked at.
    pub(super) labels: Arc<LabelCounts>,
    /// Its threads and processes, as if they were labels.
    pub(super) attributes: Arc<LabelCounts>,
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
        // Sums grow from place to place, up to the largest number.
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

    /// Visits every stack's frames, outermost first, with its samples.
    ///
    /// # Errors
    /// The run is to end.
    pub(super) fn visit<'a>(
        &'a self,
        run: &Run,
        mut visit: impl FnMut(&'a [Step], Counts),
    ) -> Result<(), QueryError> {
        let mut pace = run.pace();
        for (stack, samples) in self.iter() {
            pace.spend(stack.len() + 1)?;
            visit(stack, samples);
        }
        Ok(())
    }

    fn iter(&self) -> impl Iterator<Item = (&[Step], Counts)> {
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
        self.stacks.steps()
    }

    /// About the bytes of its names and labels.
    pub(super) fn name_bytes(&self) -> usize {
        self.names.bytes() + self.labels.bytes() + self.attributes.bytes()
    }

    /// The set of what `change` makes of every stack: it gets the frames, outermost first, and an empty list for those that
    /// are kept. A stack for which it returns false is left out. What becomes equal is one.
    ///
    /// # Errors
    /// The run is to end.
    pub(super) fn changed(
        &self,
        root: FrameIndex,
        run: &Run,
        mut change: impl FnMut(&[Step], &mut Vec<Step>) -> bool,
    ) -> Result<Self, QueryError> {
        let mut stacks = Flat::default();
        let mut samples = Vec::new();
        let mut kept = Vec::new();
        self.visit(run, |stack, counts| {
            kept.clear();
            if change(stack, &mut kept) {
                stacks.push(&kept);
                samples.push(counts);
            }
        })?;
        let mut order: Vec<u32> = Vec::new();
        let mut sums = vec![[0u64; 2]];
        let mut sum = [0u64; 2];
        for stack in stacks.sorted(&self.names) {
            for (sum, count) in sum.iter_mut().zip(samples[stack as usize]) {
                *sum = sum.saturating_add(count);
            }
            match order.last() {
                Some(last) if stacks.get(*last) == stacks.get(stack) => {
                    sums.pop();
                }
                _ => order.push(stack),
            }
            sums.push(sum);
        }
        Ok(Self {
            names: Arc::clone(&self.names),
            stacks,
            order,
            sums,
            root,
            labels: Arc::clone(&self.labels),
            attributes: Arc::clone(&self.attributes),
            kind: self.kind,
            quantum: self.quantum,
        })
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
