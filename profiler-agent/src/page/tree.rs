//! Profiles as a tree of frames: what a flame graph draws.
//!
//! Built in time proportional to the sum of the stacks' depths, one profile after the other, so that a
//! long range needs memory for its distinct paths alone. Two sides are counted in the same tree: what is
//! looked at, and in a comparison its base.

use hashbrown::HashMap;

use super::kind::Kind;
use super::names::{Frame, FrameIndex, LocationFrames, Names};
use super::query::{Filter, Grouping};
use crate::profile::{Process, Profile, SamplePeriod};

/// Which of the two counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What is looked at.
    Shown = 0,
    /// What it is compared with.
    Base = 1,
}

/// Index of a node; the root is 0.
pub(super) type NodeIndex = u32;

/// A path from the root.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) frame: FrameIndex,
    pub(super) parent: NodeIndex,
    /// Samples that end here, per side.
    pub(super) own: [u64; 2],
    /// Was it inlined into its parent in every sample?
    pub(super) inlined: bool,
    /// The child that was visited last: stacks that follow each other are often alike.
    recent: NodeIndex,
}

/// Frames of a stack that are followed from the root; the kernel side gives fewer, inlined frames
/// and strange files may give more.
const MAX_DEPTH: usize = 4096;

/// The tree while it is built.
#[derive(Debug)]
pub(super) struct TreeBuilder {
    names: Names,
    nodes: Vec<Node>,
    children: HashMap<(NodeIndex, FrameIndex), NodeIndex>,
    max_nodes: usize,
    overfull: FrameIndex,
    grouping: Grouping,
    period: Option<SamplePeriod>,
    /// Remainders of counts that were converted to the first profile's period, per side.
    carry: [u128; 2],
}

impl TreeBuilder {
    /// The empty tree, which may get this many nodes; paths that have no room end in a frame that says so.
    pub(super) fn new(grouping: Grouping, max_nodes: usize) -> Self {
        let mut names = Names::default();
        let root = names.group("all");
        let overfull = Frame {
            name: names.plain("[too many paths]"),
            module: names.plain(""),
            file: names.plain(""),
            kind: Kind::Broken,
        };
        let overfull = names.frame(overfull);
        let mut tree = Self {
            names,
            nodes: Vec::new(),
            children: HashMap::new(),
            max_nodes: max_nodes.max(2),
            overfull,
            grouping,
            period: None,
            carry: [0; 2],
        };
        tree.push(root, 0, false);
        tree
    }

    fn push(&mut self, frame: FrameIndex, parent: NodeIndex, inlined: bool) -> NodeIndex {
        let index = self.nodes.len() as u32;
        self.nodes.push(Node {
            frame,
            parent,
            own: [0; 2],
            inlined,
            recent: 0,
        });
        index
    }

    /// Adds the samples of the processes that `filter` keeps.
    pub(super) fn add(&mut self, profile: &Profile, filter: &Filter, side: Side) {
        let frames = LocationFrames::new(profile, &mut self.names);
        let kept: Vec<bool> = profile.processes.iter().map(|p| filter.keeps(p)).collect();
        let starts: Vec<Option<NodeIndex>> = profile
            .threads
            .iter()
            .map(|thread| {
                let process = thread.process as usize;
                let wanted = *kept.get(process)?;
                wanted.then(|| self.group(&profile.processes[process], &thread.name))
            })
            .collect();
        for sample in &profile.samples {
            let Some(Some(start)) = starts.get(sample.thread.0 as usize) else {
                continue;
            };
            let count = self.converted(sample.count, profile.period, side);
            let mut node = *start;
            let stack = profile.stacks.get(sample.stack);
            let outermost_first = stack
                .iter()
                .rev()
                .flat_map(|location| frames.get(location.0 as usize));
            for (frame, inlined) in outermost_first.take(MAX_DEPTH) {
                let child = self.child(node, *frame, *inlined);
                node = child.0;
                if !child.1 {
                    break;
                }
            }
            let own = &mut self.nodes[node as usize].own[side as usize];
            *own = own.saturating_add(count);
        }
    }

    /// The child of `parent` with this frame, and whether there was room for it.
    fn child(&mut self, parent: NodeIndex, frame: FrameIndex, inlined: bool) -> (NodeIndex, bool) {
        let recent = self.nodes[parent as usize].recent;
        let mut found = recent;
        if recent == 0 || self.nodes[recent as usize].frame != frame {
            found = match self.children.get(&(parent, frame)) {
                Some(child) => *child,
                None if self.nodes.len() >= self.max_nodes && frame != self.overfull => {
                    // One more node for each node at most: still bounded.
                    return (self.child(parent, self.overfull, false).0, false);
                }
                None => {
                    let child = self.push(frame, parent, inlined);
                    self.children.insert((parent, frame), child);
                    child
                }
            };
            self.nodes[parent as usize].recent = found;
        }
        self.nodes[found as usize].inlined &= inlined;
        (found, true)
    }

    /// The node that the stacks of a thread start from.
    fn group(&mut self, process: &Process, thread: &str) -> NodeIndex {
        let service = match self.grouping {
            Grouping::None => return 0,
            Grouping::Service | Grouping::Thread => self.names.group(process.service()),
        };
        let node = self.child(0, service, false).0;
        match self.grouping {
            Grouping::Thread => {
                let name = self.names.group(thread);
                self.child(node, name, false).0
            }
            Grouping::None | Grouping::Service => node,
        }
    }

    /// The count in samples of the first profile's period, so that CPU time stays what it is.
    fn converted(&mut self, count: u64, period: SamplePeriod, side: Side) -> u64 {
        let first = *self.period.get_or_insert(period);
        if first == period {
            return count;
        }
        let unit = u128::from(first.nanoseconds());
        let carry = &mut self.carry[side as usize];
        let exact = u128::from(count) * u128::from(period.nanoseconds()) + *carry;
        *carry = exact % unit;
        u64::try_from(exact / unit).unwrap_or(u64::MAX)
    }

    /// The tree, summed up.
    pub(super) fn finish(self) -> Tree {
        let mut totals: Vec<[u64; 2]> = self.nodes.iter().map(|node| node.own).collect();
        // A child comes after its parent.
        for index in (1..self.nodes.len()).rev() {
            let parent = self.nodes[index].parent as usize;
            let own = totals[index];
            for (sum, count) in totals[parent].iter_mut().zip(own) {
                *sum = sum.saturating_add(count);
            }
        }
        let mut firsts = vec![0u32; self.nodes.len() + 1];
        for node in self.nodes.iter().skip(1) {
            firsts[node.parent as usize + 1] += 1;
        }
        for index in 1..firsts.len() {
            firsts[index] += firsts[index - 1];
        }
        let mut next = firsts.clone();
        let mut children = vec![0u32; self.nodes.len().saturating_sub(1)];
        for (index, node) in self.nodes.iter().enumerate().skip(1) {
            let slot = &mut next[node.parent as usize];
            children[*slot as usize] = index as u32;
            *slot += 1;
        }
        let names = self.names;
        let whole = totals[0];
        let weight = |node: u32| share(totals[node as usize], whole);
        let name = |node: u32| names.name_of(self.nodes[node as usize].frame);
        for index in 0..self.nodes.len() {
            let range = firsts[index] as usize..firsts[index + 1] as usize;
            children[range].sort_by(|a, b| {
                let larger = weight(*b).total_cmp(&weight(*a));
                larger.then_with(|| name(*a).cmp(name(*b)))
            });
        }
        Tree {
            names,
            nodes: self.nodes,
            totals,
            firsts,
            children,
            period: self.period.unwrap_or(SamplePeriod::from_hertz(1)),
        }
    }
}

/// A node's share of each side's whole, added up: sides of different length count the same.
fn share(totals: [u64; 2], whole: [u64; 2]) -> f64 {
    let part = |side: usize| totals[side] as f64 / whole[side].max(1) as f64;
    part(0) + part(1)
}

/// The tree: children by size, the largest first.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) names: Names,
    pub(super) nodes: Vec<Node>,
    /// Samples at and below each node, per side.
    pub(super) totals: Vec<[u64; 2]>,
    firsts: Vec<u32>,
    children: Vec<NodeIndex>,
    /// CPU time that one sample stands for.
    pub(super) period: SamplePeriod,
}

impl Tree {
    /// The node's children, the largest first.
    pub(super) fn children(&self, node: NodeIndex) -> &[NodeIndex] {
        let node = node as usize;
        &self.children[self.firsts[node] as usize..self.firsts[node + 1] as usize]
    }

    /// The node's share of the whole; in a comparison, the sum of its two shares.
    pub(super) fn weight(&self, node: NodeIndex) -> f64 {
        share(self.totals[node as usize], self.totals[0])
    }

    /// The nodes from the root (not included) along these names; the largest where several have the
    /// name. `None` when a name is not there.
    pub(super) fn follow(&self, path: &[String]) -> Option<Vec<NodeIndex>> {
        let mut node = 0;
        path.iter()
            .map(|name| {
                node = *self
                    .children(node)
                    .iter()
                    .find(|child| self.names.name_of(self.nodes[**child as usize].frame) == name)?;
                Some(node)
            })
            .collect()
    }
}
