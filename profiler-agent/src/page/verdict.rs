//! How complete the profiles of a selection are, by service, and what helps where they are not.
//!
//! Stacks that were cut have a mark where the walk stopped (`[unwind: no_rule]`, `[truncated]`) in whatever form they are
//! kept; the code in which it stopped is the frame inside of the mark. Samples that were lost have no stack: windows count
//! them by cause.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::unwind::Outcome;
use serde::Serialize;

use super::kind::Kind;
use super::stacks::StackSet;
use crate::profile::{Degradation, Explanation, SampleLoss, mark};

/// Services of an answer.
const MAX_SERVICES: usize = 100;
/// Modules that are named of a reason.
const MAX_MODULES: usize = 5;

/// The answer. Numbers are samples.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    /// What is measured.
    r#type: &'static str,
    /// Time that one sample stands for, in ns.
    period_ns: u64,
    /// All samples.
    samples: u64,
    /// Those whose stack was cut.
    incomplete: u64,
    /// The services that have such, the one with the most first.
    services: Vec<ServiceVerdict>,
    /// What was lost, or is less than it could be.
    losses: Vec<LossVerdict>,
}

#[derive(Debug, Serialize)]
struct ServiceVerdict {
    name: String,
    samples: u64,
    incomplete: u64,
    reasons: Vec<CutVerdict>,
}

#[derive(Debug, Serialize)]
struct CutVerdict {
    /// `Outcome::name`.
    outcome: &'static str,
    samples: u64,
    /// What happened to the stacks: `end in code without ..`.
    what: &'static str,
    fix: &'static str,
    /// The files in whose code the walk stopped, those with the most samples first.
    modules: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LossVerdict {
    /// The name of a [`SampleLoss`] or [`Degradation`].
    cause: &'static str,
    count: u64,
    /// What is counted.
    unit: &'static str,
    /// Are samples missing?
    loses_samples: bool,
    what: &'static str,
    fix: &'static str,
}

#[derive(Default)]
struct Service<'a> {
    samples: u64,
    /// By outcome and module.
    cut: BTreeMap<Outcome, BTreeMap<&'a str, u64>>,
}

/// The verdict on a set that is grouped by service, or is of the service with this name; `losses`: counts by name of cause.
pub(super) fn verdict(
    set: &StackSet,
    only: Option<&str>,
    losses: &BTreeMap<String, u64>,
) -> Verdict {
    let marks = marks(set);
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    for (stack, [samples, _]) in set.iter() {
        let group = stack.first().filter(|_| only.is_none());
        let name = group.map_or(only.unwrap_or_default(), |step| {
            set.names.name_of(step.frame())
        });
        let service = services.entry(name).or_default();
        service.samples += samples;
        let mark = |place: &usize| marks.get(&stack[*place].frame());
        let Some(place) = (0..stack.len()).find(|place| mark(place).is_some()) else {
            continue;
        };
        if let Some(outcome) = mark(&place) {
            let inside = stack
                .get(place + 1)
                .map(|step| set.names.of_frame(step.frame()));
            let module = inside.map_or("", |frame| set.names.of_text(frame.module));
            *service
                .cut
                .entry(*outcome)
                .or_default()
                .entry(module)
                .or_default() += samples;
        }
    }
    let mut services: Vec<ServiceVerdict> = services
        .into_iter()
        .map(|(name, service)| {
            let mut reasons: Vec<CutVerdict> = service.cut.into_iter().map(reason).collect();
            reasons.sort_by_key(|reason| Reverse(reason.samples));
            ServiceVerdict {
                name: name.to_owned(),
                samples: service.samples,
                incomplete: reasons.iter().map(|reason| reason.samples).sum(),
                reasons,
            }
        })
        .filter(|service| service.incomplete > 0)
        .collect();
    services.sort_by(|a, b| {
        b.incomplete
            .cmp(&a.incomplete)
            .then_with(|| a.name.cmp(&b.name))
    });
    let incomplete = services.iter().map(|service| service.incomplete).sum();
    services.truncate(MAX_SERVICES);
    Verdict {
        r#type: set.kind.name(),
        period_ns: set.quantum,
        samples: set.whole()[0],
        incomplete,
        services,
        losses: losses
            .iter()
            .filter_map(|(name, count)| loss(name, *count))
            .collect(),
    }
}

/// The outcomes that the frames stand for that are marks.
fn marks(set: &StackSet) -> hashbrown::HashMap<u32, Outcome> {
    let frames = 0..set.names.frame_count() as u32;
    let marks = frames.filter(|index| set.names.of_frame(*index).kind == Kind::Broken);
    marks
        .filter_map(|index| Some((index, outcome(set.names.name_of(index))?)))
        .collect()
}

/// The outcome that a mark names: `[truncated]`, `[unwind: no_rule]`.
fn outcome(name: &str) -> Option<Outcome> {
    let mut outcomes = Outcome::ALL.into_iter();
    outcomes.find(|outcome| !outcome.complete() && mark::end_of_stack(*outcome) == name)
}

fn reason((outcome, modules): (Outcome, BTreeMap<&str, u64>)) -> CutVerdict {
    let samples = modules.values().sum();
    let mut modules: Vec<(&str, u64)> = modules.into_iter().collect();
    modules.sort_by_key(|(_, samples)| Reverse(*samples));
    let named = modules.into_iter().map(|(name, _)| name);
    let Explanation { what, fix, .. } = mark::explain(outcome);
    CutVerdict {
        outcome: outcome.name(),
        samples,
        what,
        fix,
        modules: named
            .filter(|name| !name.is_empty())
            .take(MAX_MODULES)
            .map(str::to_owned)
            .collect(),
    }
}

fn loss(name: &str, count: u64) -> Option<LossVerdict> {
    let lost = SampleLoss::from_name(name);
    let degraded = || Degradation::from_name(name).map(Degradation::explanation);
    let explanation = lost.map(SampleLoss::explanation).or_else(degraded)?;
    Some(LossVerdict {
        cause: explanation.name,
        count,
        unit: explanation.unit,
        loses_samples: lost.is_some(),
        what: explanation.what,
        fix: explanation.fix,
    })
}

#[cfg(test)]
mod tests {
    use profiler_common::unwind::Outcome;

    use super::outcome;

    #[test]
    fn marks_name_outcomes() {
        assert_eq!(outcome("[truncated]"), Some(Outcome::Truncated));
        assert_eq!(outcome("[unwind: no_rule]"), Some(Outcome::NoRule));
        for other in [
            "[unwind: root]",
            "[too many stacks]",
            "truncated",
            "[unwind: ]",
            "[",
        ] {
            assert_eq!(outcome(other), None, "{other}");
        }
    }
}
