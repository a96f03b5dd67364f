//! A tree as the JSON that the page draws: pruned to what can be seen.

use serde::Serialize;

use super::kind::Kind;
use super::tree::{NodeIndex, Tree};

/// A node whose total is less than this part of what is shown is left out: a twentieth of a pixel on a
/// screen of 1,000 pixels.
const SMALLEST_PART: f64 = 20_000.0;

/// Nodes of an answer; where there would be more, the smallest part grows.
const MAX_NODES: usize = 120_000;

/// A flame graph. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct FlameGraph {
    /// CPU time that one sample stands for, in ns.
    pub(super) period_ns: u64,
    /// All samples, whatever the focus.
    pub(super) samples: u64,
    /// All samples of the base, in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base_samples: Option<u64>,
    /// Names of the kinds, by number.
    pub(super) kinds: [&'static str; Kind::ALL.len()],
    /// Texts.
    pub(super) strings: Vec<String>,
    /// Four numbers a frame: name, module, source file (indices into `strings`), kind.
    pub(super) frames: Vec<u32>,
    /// In preorder, the largest child first. Five numbers a node: frame, depth, self, total, 1 if inlined;
    /// in a comparison two more: self and total of the base.
    pub(super) nodes: Vec<u64>,
    /// How many nodes at the beginning are ancestors of the focus, the root included.
    pub(super) ancestors: usize,
    /// Nodes that were left out.
    pub(super) pruned: usize,
}

/// The part of the tree below the path, as JSON; `None` when the path is not there.
pub(super) fn flame_graph(tree: &Tree, path: &[String], compared: bool) -> Option<FlameGraph> {
    let mut ancestors = vec![0];
    ancestors.extend(tree.follow(path)?);
    let focus = ancestors.pop().unwrap_or(0);
    let mut least = tree.weight(focus) / SMALLEST_PART;
    let mut kept = visible(tree, focus, ancestors.len(), least);
    while kept.len() > MAX_NODES {
        least *= 2.0;
        kept = visible(tree, focus, ancestors.len(), least);
    }
    let below = count_below(tree, focus);
    let mut writer = Writer::new(tree, compared, ancestors.len() + kept.len());
    for (depth, node) in ancestors.iter().enumerate() {
        writer.node(*node, depth);
    }
    for (node, depth) in &kept {
        writer.node(*node, *depth);
    }
    let [samples, base] = tree.totals[0];
    Some(FlameGraph {
        period_ns: tree.period.nanoseconds(),
        samples,
        base_samples: compared.then_some(base),
        kinds: Kind::ALL.map(Kind::name),
        strings: writer.strings,
        frames: writer.frames,
        nodes: writer.nodes,
        ancestors: ancestors.len(),
        pruned: below - kept.len(),
    })
}

/// The nodes at and below `focus` that weigh at least `least`, in preorder with their depths.
fn visible(tree: &Tree, focus: NodeIndex, depth: usize, least: f64) -> Vec<(NodeIndex, usize)> {
    let mut kept = Vec::new();
    let mut waiting = vec![(focus, depth)];
    while let Some((node, depth)) = waiting.pop() {
        kept.push((node, depth));
        if kept.len() > MAX_NODES {
            break;
        }
        let children = tree.children(node).iter().rev();
        waiting.extend(
            children
                .filter(|child| tree.weight(**child) >= least)
                .map(|child| (*child, depth + 1)),
        );
    }
    kept
}

fn count_below(tree: &Tree, focus: NodeIndex) -> usize {
    if focus == 0 {
        return tree.nodes.len();
    }
    let mut count = 0;
    let mut waiting = vec![focus];
    while let Some(node) = waiting.pop() {
        count += 1;
        waiting.extend_from_slice(tree.children(node));
    }
    count
}

/// Numbers texts and frames in the order of their first use, so that only those used are sent.
struct Writer<'a> {
    tree: &'a Tree,
    compared: bool,
    strings: Vec<String>,
    string_numbers: Vec<u32>,
    frames: Vec<u32>,
    frame_numbers: Vec<u32>,
    nodes: Vec<u64>,
}

const UNUSED: u32 = u32::MAX;

impl<'a> Writer<'a> {
    fn new(tree: &'a Tree, compared: bool, nodes: usize) -> Self {
        Self {
            tree,
            compared,
            strings: Vec::new(),
            string_numbers: vec![UNUSED; tree.names.text_count()],
            frames: Vec::new(),
            frame_numbers: vec![UNUSED; tree.names.frame_count()],
            nodes: Vec::with_capacity(nodes * if compared { 7 } else { 5 }),
        }
    }

    fn node(&mut self, node: NodeIndex, depth: usize) {
        let found = &self.tree.nodes[node as usize];
        let totals = self.tree.totals[node as usize];
        let frame = self.frame(found.frame);
        self.nodes.extend([
            u64::from(frame),
            depth as u64,
            found.own[0],
            totals[0],
            u64::from(found.inlined),
        ]);
        if self.compared {
            self.nodes.extend([found.own[1], totals[1]]);
        }
    }

    fn frame(&mut self, index: u32) -> u32 {
        let number = self.frame_numbers[index as usize];
        if number != UNUSED {
            return number;
        }
        let number = (self.frames.len() / 4) as u32;
        self.frame_numbers[index as usize] = number;
        let frame = self.tree.names.of_frame(index);
        let texts = [frame.name, frame.module, frame.file].map(|text| self.string(text));
        self.frames.extend(texts);
        self.frames.push(frame.kind as u32);
        number
    }

    fn string(&mut self, index: u32) -> u32 {
        let number = self.string_numbers[index as usize];
        if number != UNUSED {
            return number;
        }
        let number = self.strings.len() as u32;
        self.string_numbers[index as usize] = number;
        self.strings.push(self.tree.names.of_text(index).to_owned());
        number
    }
}
