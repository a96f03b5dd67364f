//! A set of stacks as a table of functions.

use serde::Serialize;

use super::engine::QueryError;
use super::names::FrameIndex;
use super::run::Run;
use super::stacks::{Counts, StackSet};

/// By what the table is sorted, the largest first where it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Samples in the function itself.
    Own,
    /// Samples in it and what it calls.
    Total,
    /// Growth of its own share over the base's, in a comparison.
    Change,
    /// The name, from A to Z.
    Name,
}

/// The table. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct FunctionTable {
    /// What is measured.
    pub(super) r#type: &'static str,
    /// Time that one sample stands for, in ns.
    pub(super) period_ns: u64,
    /// All samples.
    pub(super) samples: u64,
    /// All samples of the base, in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) base_samples: Option<u64>,
    /// How many functions there are that the search finds.
    pub(super) found: usize,
    /// How many of them are left out before the first.
    pub(super) offset: usize,
    /// The first of them after those.
    pub(super) functions: Vec<FunctionRow>,
}

/// A function.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FunctionRow {
    name: String,
    module: String,
    file: String,
    kind: &'static str,
    #[serde(rename = "self")]
    own: u64,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_self: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_total: Option<u64>,
}

/// A part of the functions that are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) order: Order,
    /// The other way round?
    pub(super) reversed: bool,
    /// How many are left out before the first.
    pub(super) offset: usize,
    /// How many there may be.
    pub(super) limit: usize,
}

/// The functions for whose frames `found` holds.
///
/// # Errors
/// The run is to end.
pub(super) fn function_table(
    set: &StackSet,
    compared: bool,
    found: &[bool],
    part: Part,
    run: &Run,
) -> Result<FunctionTable, QueryError> {
    let counts = count(set, run)?;
    let mut rows: Vec<(FrameIndex, &FunctionCounts)> = counts
        .iter()
        .enumerate()
        .filter(|(frame, counts)| counts.total != [0; 2] && found.get(*frame) == Some(&true))
        .map(|(frame, counts)| (frame as u32, counts))
        .collect();
    let [samples, base] = set.whole();
    let key = |counts: &FunctionCounts| -> u128 {
        match part.order {
            Order::Own => u128::from(counts.own[0].max(counts.own[1])),
            Order::Total => u128::from(counts.total[0].max(counts.total[1])),
            Order::Name => 0,
            Order::Change => {
                let shown = u128::from(counts.own[0]) * u128::from(base.max(1));
                shown.abs_diff(u128::from(counts.own[1]) * u128::from(samples.max(1)))
            }
        }
    };
    let by_name = |a: FrameIndex, b: FrameIndex| set.names.order(a, b);
    match part.order {
        Order::Name => rows.sort_by(|a, b| by_name(a.0, b.0)),
        Order::Own | Order::Total | Order::Change => rows.sort_by(|a, b| {
            let larger = (key(b.1), b.1.total).cmp(&(key(a.1), a.1.total));
            larger.then_with(|| by_name(a.0, b.0))
        }),
    }
    if part.reversed {
        rows.reverse();
    }
    Ok(FunctionTable {
        r#type: set.kind.name(),
        period_ns: set.quantum,
        samples,
        base_samples: compared.then_some(base),
        found: rows.len(),
        offset: part.offset,
        functions: rows
            .into_iter()
            .skip(part.offset)
            .take(part.limit)
            .map(|(frame, counts)| {
                let found = set.names.of_frame(frame);
                FunctionRow {
                    name: set.names.of_text(found.name).to_owned(),
                    module: set.names.of_text(found.module).to_owned(),
                    file: set.names.of_text(found.file).to_owned(),
                    kind: found.kind.name(),
                    own: counts.own[0],
                    total: counts.total[0],
                    base_self: compared.then_some(counts.own[1]),
                    base_total: compared.then_some(counts.total[1]),
                }
            })
            .collect(),
    })
}

/// Samples of a function, per side.
#[derive(Clone, Debug, Default)]
struct FunctionCounts {
    own: Counts,
    total: Counts,
    /// Number of the stack that was counted last: a recursive function counts once a stack.
    last: usize,
}

fn count(set: &StackSet, run: &Run) -> Result<Vec<FunctionCounts>, QueryError> {
    let mut counts = vec![FunctionCounts::default(); set.names.frame_count()];
    let add = |sums: &mut Counts, samples: Counts| {
        for (sum, count) in sums.iter_mut().zip(samples) {
            *sum = sum.saturating_add(count);
        }
    };
    let mut number = 0;
    set.visit(run, |stack, samples| {
        number += 1;
        for step in stack {
            let function = &mut counts[step.frame() as usize];
            if function.last != number {
                function.last = number;
                add(&mut function.total, samples);
            }
        }
        if let Some(leaf) = stack.last() {
            add(&mut counts[leaf.frame() as usize].own, samples);
        }
    })?;
    Ok(counts)
}
