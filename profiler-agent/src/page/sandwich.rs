//! A function with what calls it and what it calls: the sandwich view.
//!
//! A stack counts once, by the outermost call of the function in it: the callers are what lies outside of that, innermost
//! first, and the callees what lies inside, where a recursive function calls itself. Both trees have all samples of the
//! function, its total in [`super::functions`].

use serde::Serialize;

use super::engine::QueryError;
use super::flame::{FlameGraph, flame_graph};
use super::kind::Kind;
use super::names::{FrameIndex, Step};
use super::run::Run;
use super::stacks::{Counts, StackSet};

/// Which function: all of this name, or those that lie in this module.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) module: Option<String>,
}

/// The view. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct Sandwich {
    /// What is measured.
    r#type: &'static str,
    /// Time that one sample stands for, in ns.
    period_ns: u64,
    /// All samples of the selection.
    samples: u64,
    /// All samples of the base, in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_samples: Option<u64>,
    /// The function's name, and module and source file where it has them.
    name: String,
    module: String,
    file: String,
    kind: &'static str,
    /// Samples in the function itself, and in what it calls too.
    #[serde(rename = "self")]
    own: u64,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_self: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_total: Option<u64>,
    /// What calls it, as a flame graph whose root is the function.
    callers: FlameGraph,
    /// What it calls, as well.
    callees: FlameGraph,
}

/// The view of a function; `None` where no stack has it.
///
/// # Errors
/// The run is to end.
pub(super) fn sandwich(
    set: &StackSet,
    function: &Function,
    compared: bool,
    run: &Run,
) -> Result<Option<Sandwich>, QueryError> {
    let is = frames(set, function);
    let Some(root) = (0..).zip(&is).find_map(|(frame, is)| is.then_some(frame)) else {
        return Ok(None);
    };
    let outermost = |stack: &[Step]| stack.iter().position(|step| is[step.frame() as usize]);
    let mut own: Counts = [0; 2];
    let mut most: (u64, FrameIndex) = (0, root);
    set.visit(run, |stack, counts| {
        let Some(leaf) = stack.last().filter(|leaf| is[leaf.frame() as usize]) else {
            return;
        };
        for (sum, count) in own.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
        most = most.max((counts[0].saturating_add(counts[1]), leaf.frame()));
    })?;
    // Of several frames with the name the one that is seen: where it runs itself, else the first.
    let root = most.1;
    let callees = set.changed(root, run, |stack, kept| match outermost(stack) {
        Some(place) => {
            kept.extend_from_slice(&stack[place + 1..]);
            true
        }
        None => false,
    })?;
    let total = callees.whole();
    if total == [0; 2] {
        return Ok(None);
    }
    let callees = drawn(set, &callees, compared, run)?;
    let callers = set.changed(root, run, |stack, kept| match outermost(stack) {
        Some(place) => {
            kept.extend(stack[..place].iter().rev());
            true
        }
        None => false,
    })?;
    let callers = drawn(set, &callers, compared, run)?;
    let (Some(callers), Some(callees)) = (callers, callees) else {
        return Ok(None);
    };
    let [samples, base] = set.whole();
    let frame = set.names.of_frame(root);
    let text = |index| set.names.of_text(index).to_owned();
    Ok(Some(Sandwich {
        r#type: set.kind.name(),
        period_ns: set.quantum,
        samples,
        base_samples: compared.then_some(base),
        name: text(frame.name),
        module: text(frame.module),
        file: text(frame.file),
        kind: frame.kind.name(),
        own: own[0],
        total: total[0],
        base_self: compared.then_some(own[1]),
        base_total: compared.then_some(total[1]),
        callers,
        callees,
    }))
}

/// Which frames are the function, by index.
fn frames(set: &StackSet, function: &Function) -> Vec<bool> {
    let names = &set.names;
    (0..names.frame_count() as u32)
        .map(|index| {
            let frame = names.of_frame(index);
            let module = function.module.as_deref();
            frame.kind != Kind::Group
                && names.of_text(frame.name) == function.name
                && module.is_none_or(|module| names.of_text(frame.module) == module)
        })
        .collect()
}

/// A tree of it, as parts of all samples.
fn drawn(
    whole: &StackSet,
    set: &StackSet,
    compared: bool,
    run: &Run,
) -> Result<Option<FlameGraph>, QueryError> {
    let Some(mut graph) = flame_graph(set, &[], compared, run)? else {
        return Ok(None);
    };
    let [samples, base] = whole.whole();
    graph.samples = samples;
    graph.base_samples = compared.then_some(base);
    Ok(Some(graph))
}
