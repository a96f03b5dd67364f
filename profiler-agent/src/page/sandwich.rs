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
    let outermost = |stack: &[Step]| stack.iter().position(|step| is[step.frame() as usize]);
    let mut own: Counts = [0; 2];
    let mut sums = vec![Sums::default(); is.len()];
    set.visit(run, |stack, counts| {
        let Some(place) = outermost(stack) else {
            return;
        };
        let both = counts[0].saturating_add(counts[1]);
        let sum = &mut sums[stack[place].frame() as usize];
        sum.total = sum.total.saturating_add(both);
        if let Some(leaf) = stack.last().filter(|leaf| is[leaf.frame() as usize]) {
            add(&mut own, counts);
            let sum = &mut sums[leaf.frame() as usize];
            sum.own = sum.own.saturating_add(both);
        }
    })?;
    let Some(root) = shown(set, &is, &sums) else {
        return Ok(None);
    };
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
    let callers = set.changed(root, run, |stack, kept| match outermost(stack) {
        Some(place) => {
            kept.extend(stack[..place].iter().rev());
            true
        }
        None => false,
    })?;
    let callees = drawn(set, &callees, compared, run)?;
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

/// Samples of both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sums {
    /// Of stacks that end in the frame.
    own: u64,
    /// Of stacks in which it is the outermost that is the function.
    total: u64,
}

/// Of several frames with the name the one that is seen: where the function runs itself most, else where it is called most;
/// of equal ones the first by what they show, whatever came first.
fn shown(set: &StackSet, is: &[bool], sums: &[Sums]) -> Option<FrameIndex> {
    let frames = (0..).zip(is.iter().zip(sums));
    let frames = frames.filter_map(|(frame, (is, sums))| is.then_some((frame, *sums)));
    frames
        .max_by(|(a, less), (b, more)| less.cmp(more).then_with(|| set.names.order(*b, *a)))
        .map(|(frame, _)| frame)
}

fn add(sums: &mut Counts, counts: Counts) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(count);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::page::filter::Filter;
    use crate::page::grouping::Grouping;
    use crate::page::run::scripted::endless;
    use crate::page::stack_builder::{Room, StackSetBuilder};
    use crate::page::stacks::Side;
    use crate::profile::example::{example, process};
    use crate::profile::{
        FrameType, LineEntry, Location, LocationKind, Mapping, Profile, ProfileBuilder,
        ProfileKind, SampleKey, Thread,
    };

    /// A window in which `work` of each of these files has its samples, in itself or in what it calls.
    fn window(works: &[(&str, bool, u64)]) -> Profile {
        let mut builder = ProfileBuilder::default();
        let process = builder.process(Arc::new(process(1, "/bin/program", None)));
        let thread = builder.thread(Thread {
            process,
            tid: 1,
            name: "program".into(),
        });
        for (file, calls, count) in works {
            let mapping = builder.mapping(Mapping {
                file: (*file).into(),
                memory_start: 0,
                memory_limit: 1,
                file_offset: 0,
                build_id: None,
                htl_hash: None,
            });
            let mut location = |name: &str| {
                let function = builder.function(crate::profile::Function {
                    name: name.into(),
                    system_name: name.into(),
                    file: "".into(),
                    start_line: 0,
                });
                builder.location(Location {
                    mapping: Some(mapping),
                    address: 0,
                    lines: Box::new([LineEntry {
                        function,
                        line: 1,
                        column: 0,
                    }]),
                    frame_type: FrameType::Native,
                    kind: LocationKind::Named,
                })
            };
            let (work, called) = (location("work"), location("called"));
            let stack = match calls {
                true => builder.stack(&[called, work]),
                false => builder.stack(&[work]),
            };
            let kind = example().kind;
            let value = count * kind.quantum();
            let key = SampleKey::new(thread, stack);
            builder.sample(
                key,
                (*count, value),
                &crate::profile::Occurrences::default(),
            );
        }
        let example = example();
        builder.finish(example.start, example.end, example.kind)
    }

    fn view(windows: &[Profile]) -> serde_json::Value {
        let room = Room {
            steps: usize::MAX,
            name_bytes: usize::MAX,
        };
        let run = endless();
        let mut builder = StackSetBuilder::new(ProfileKind::OnCpu, Grouping::None, room);
        for window in windows {
            let added = builder.add(window, &Filter::default(), Side::Shown, &run);
            added.unwrap();
        }
        let function = Function {
            name: "work".to_owned(),
            module: None,
        };
        let found = sandwich(&builder.finish(), &function, false, &run).unwrap();
        serde_json::to_value(found.unwrap()).unwrap()
    }

    #[test]
    fn the_frame_is_the_same_whatever_order_its_names_come_in() {
        let equal = [
            window(&[("libz.so", false, 5), ("liba.so", false, 5)]),
            window(&[("libm.so", false, 5)]),
        ];
        let called = [
            window(&[("libz.so", true, 3)]),
            window(&[("liba.so", true, 2), ("liba.so", true, 2)]),
        ];
        // It runs in one and calls more in the other.
        let both = [
            window(&[("libz.so", false, 5)]),
            window(&[("liba.so", true, 9)]),
        ];
        for (windows, module) in [(equal, "liba.so"), (called, "liba.so"), (both, "libz.so")] {
            let [first, second] = &windows;
            let forward = view(&[first.clone(), second.clone()]);
            assert_eq!(forward["module"], module);
            assert_eq!(view(&[second.clone(), first.clone()]), forward);
        }
    }
}
