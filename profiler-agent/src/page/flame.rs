//! A set of stacks as the JSON that the page draws: a tree, pruned to what can be seen.

use serde::Serialize;

use super::engine::QueryError;
use super::kind::Kind;
use super::run::Run;
use super::stacks::{Span, StackSet};

/// A node whose total is less than this part of what is shown is left out: a twentieth of a pixel on a
/// screen of 1,000 pixels.
const SMALLEST_PART: f64 = 20_000.0;

/// Nodes of an answer; where there would be more, the smallest part grows.
const MAX_NODES: usize = 120_000;

/// A flame graph. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct FlameGraph {
    /// What is measured.
    pub(super) r#type: &'static str,
    /// Time that one sample stands for, in ns.
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
    /// Nodes that were left out, each with all that is below it.
    pub(super) pruned: usize,
}

/// What is below the path, as JSON; `None` when the path is not there.
///
/// # Errors
/// The run is to end.
pub(super) fn flame_graph(
    set: &StackSet,
    path: &[String],
    compared: bool,
    run: &Run,
) -> Result<Option<FlameGraph>, QueryError> {
    let Some(below) = set.follow(path) else {
        return Ok(None);
    };
    let mut ancestors = vec![set.root()];
    ancestors.extend(below);
    let Some(focus) = ancestors.pop() else {
        return Ok(None);
    };
    let mut least = set.weight(&focus) / SMALLEST_PART;
    let mut drawn = visible(set, focus, least, run)?;
    while drawn.nodes.len() > MAX_NODES {
        run.check()?;
        // Where nothing weighs anything, twice as much is nothing as well.
        least = (least * 2.0).max(f64::MIN_POSITIVE);
        drawn = visible(set, focus, least, run)?;
    }
    let mut writer = Writer::new(set, compared, ancestors.len() + drawn.nodes.len());
    for node in ancestors.iter().chain(&drawn.nodes) {
        writer.node(node);
    }
    let [samples, base] = set.whole();
    Ok(Some(FlameGraph {
        r#type: set.kind.name(),
        period_ns: set.quantum,
        samples,
        base_samples: compared.then_some(base),
        kinds: Kind::ALL.map(Kind::name),
        strings: writer.strings,
        frames: writer.frames,
        nodes: writer.nodes,
        ancestors: ancestors.len(),
        pruned: drawn.pruned,
    }))
}

struct Visible {
    nodes: Vec<Span>,
    pruned: usize,
}

/// The nodes at and below `focus` that weigh at least `least`, in preorder.
fn visible(set: &StackSet, focus: Span, least: f64, run: &Run) -> Result<Visible, QueryError> {
    let mut pace = run.pace();
    let mut nodes = Vec::new();
    let mut pruned = 0;
    let mut waiting = vec![focus];
    while let Some(node) = waiting.pop() {
        nodes.push(node);
        if nodes.len() > MAX_NODES {
            break;
        }
        let (children, lighter) = set.children(&node, least);
        pace.spend(1 + children.len() + lighter)?;
        pruned += lighter;
        waiting.extend(children.into_iter().rev());
    }
    Ok(Visible { nodes, pruned })
}

/// Numbers texts and frames in the order of their first use, so that only those used are sent.
struct Writer<'a> {
    set: &'a StackSet,
    compared: bool,
    strings: Vec<String>,
    string_numbers: Vec<u32>,
    frames: Vec<u32>,
    frame_numbers: Vec<u32>,
    nodes: Vec<u64>,
}

const UNUSED: u32 = u32::MAX;

impl<'a> Writer<'a> {
    fn new(set: &'a StackSet, compared: bool, nodes: usize) -> Self {
        Self {
            set,
            compared,
            strings: Vec::new(),
            string_numbers: vec![UNUSED; set.names.text_count()],
            frames: Vec::new(),
            frame_numbers: vec![UNUSED; set.names.frame_count()],
            nodes: Vec::with_capacity(nodes * if compared { 7 } else { 5 }),
        }
    }

    fn node(&mut self, node: &Span) {
        let own = self.set.own(node);
        let total = self.set.total(node);
        let frame = self.frame(node.frame);
        self.nodes.extend([
            u64::from(frame),
            node.depth as u64,
            own[0],
            total[0],
            u64::from(self.set.inlined(node)),
        ]);
        if self.compared {
            self.nodes.extend([own[1], total[1]]);
        }
    }

    fn frame(&mut self, index: u32) -> u32 {
        let number = self.frame_numbers[index as usize];
        if number != UNUSED {
            return number;
        }
        let number = (self.frames.len() / 4) as u32;
        self.frame_numbers[index as usize] = number;
        let frame = self.set.names.of_frame(index);
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
        self.strings.push(self.set.names.of_text(index).to_owned());
        number
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::page::labels::LabelCounts;
    use crate::page::names::{Names, Step};
    use crate::page::run::scripted::short_after;
    use crate::page::stacks::Flat;
    use crate::profile::ProfileKind;

    /// So many stacks of one frame each, all with so many samples.
    fn wide(stacks: usize, samples: u64) -> StackSet {
        let mut names = Names::new(usize::MAX);
        let root = names.fixed("all", Kind::Group);
        let mut flat = Flat::default();
        for number in 0..stacks {
            let frame = names.fixed(&format!("f{number}"), Kind::Native);
            flat.push(&[Step::new(frame, false)]);
        }
        StackSet {
            order: flat.sorted(&names),
            names: Arc::new(names),
            stacks: flat,
            sums: (0..=stacks as u64).map(|n| [n * samples, 0]).collect(),
            root,
            labels: Arc::new(LabelCounts::default()),
            attributes: Arc::new(LabelCounts::default()),
            kind: ProfileKind::OnCpu,
            quantum: 1,
        }
    }

    #[test]
    fn more_nodes_than_an_answer_has_are_pruned_whether_they_weigh_anything_or_not() {
        for samples in [0, 1] {
            // A search for the smallest part that finds none would check for ever.
            let (run, _) = short_after(1_000);
            let set = wide(MAX_NODES + 1, samples);
            let graph = flame_graph(&set, &[], false, &run).unwrap().unwrap();
            assert_eq!(graph.nodes.len(), 5, "the root alone");
            assert_eq!(graph.pruned, MAX_NODES + 1);
            assert_eq!(graph.samples, samples * (MAX_NODES as u64 + 1));
        }
        let (run, _) = short_after(1_000);
        let graph = flame_graph(&wide(10, 0), &[], false, &run).unwrap();
        assert_eq!(graph.unwrap().nodes.len(), 5 * 11);
    }

    #[test]
    fn drawing_ends_with_its_run() {
        let (run, _) = short_after(0);
        let drawn = flame_graph(&wide(100_000, 1), &[], false, &run);
        assert!(matches!(drawn, Err(QueryError::MemoryShort)));
    }
}
