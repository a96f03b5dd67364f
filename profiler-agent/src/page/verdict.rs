//! How complete the profiles of a selection are, by service, and what helps where they are not.
//!
//! Stacks that were cut have a frame that stands for the end of the walk ([`Frame::end`](super::names::Frame::end)), whatever
//! it is called; the code in which the walk stopped is the frame inside of it. Samples that were lost have no stack: windows count
//! them by cause.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use profiler_common::unwind::Outcome;
use serde::Serialize;

use super::engine::QueryError;
use super::run::Run;
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
///
/// # Errors
/// The run is to end.
pub(super) fn verdict(
    set: &StackSet,
    only: Option<&str>,
    losses: &BTreeMap<String, u64>,
    run: &Run,
) -> Result<Verdict, QueryError> {
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    set.visit(run, |stack, [samples, _]| {
        let group = stack.first().filter(|_| only.is_none());
        let name = group.map_or(only.unwrap_or_default(), |step| {
            set.names.name_of(step.frame())
        });
        let service = services.entry(name).or_default();
        service.samples = service.samples.saturating_add(samples);
        let frames = || stack.iter().map(|step| set.names.of_frame(step.frame()));
        let ends = frames().enumerate();
        let mut ends = ends.filter_map(|(place, frame)| Some((place, frame.end?)));
        let Some((place, outcome)) = ends.next() else {
            return;
        };
        let inside = frames().nth(place + 1);
        let module = inside.map_or("", |frame| set.names.of_text(frame.module));
        let cut = service.cut.entry(outcome).or_default();
        let sum = cut.entry(module).or_default();
        *sum = sum.saturating_add(samples);
    })?;
    let mut services: Vec<ServiceVerdict> = services
        .into_iter()
        .map(|(name, service)| {
            let mut reasons: Vec<CutVerdict> = service.cut.into_iter().map(reason).collect();
            reasons.sort_by_key(|reason| Reverse(reason.samples));
            ServiceVerdict {
                name: name.to_owned(),
                samples: service.samples,
                incomplete: sum(reasons.iter().map(|reason| reason.samples)),
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
    let incomplete = sum(services.iter().map(|service| service.incomplete));
    services.truncate(MAX_SERVICES);
    Ok(Verdict {
        r#type: set.kind.name(),
        period_ns: set.quantum,
        samples: set.whole()[0],
        incomplete,
        services,
        losses: losses
            .iter()
            .filter_map(|(name, count)| loss(name, *count))
            .collect(),
    })
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn reason((outcome, modules): (Outcome, BTreeMap<&str, u64>)) -> CutVerdict {
    let samples = sum(modules.values().copied());
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
    use std::collections::BTreeMap;

    use profiler_common::unwind::Outcome;

    use super::verdict;
    use crate::page::filter::Filter;
    use crate::page::grouping::Grouping;
    use crate::page::run::scripted::endless;
    use crate::page::stack_builder::{Room, StackSetBuilder};
    use crate::page::stacks::Side;
    use crate::profile::example::example;
    use crate::profile::{LocationKind, Profile, ProfileKind};

    fn told(profile: &Profile) -> serde_json::Value {
        let room = Room {
            steps: usize::MAX,
            name_bytes: usize::MAX,
        };
        let run = endless();
        let mut builder = StackSetBuilder::new(ProfileKind::OnCpu, Grouping::Service, room);
        let added = builder.add(profile, &Filter::default(), Side::Shown, &run);
        added.unwrap();
        let answer = verdict(&builder.finish(), None, &BTreeMap::new(), &run).unwrap();
        serde_json::to_value(answer).unwrap()
    }

    #[test]
    fn a_stack_is_cut_where_a_frame_stands_for_its_end_whatever_that_is_called() {
        let mut profile = example();
        let cut = told(&profile);
        assert_eq!(cut["incomplete"], 1, "{cut}");
        assert_eq!(cut["services"][0]["reasons"][0]["outcome"], "truncated");
        let end = LocationKind::StackEnd(Outcome::Truncated);
        for location in &mut profile.locations {
            if location.kind == end {
                location.kind = LocationKind::StackEnd(Outcome::NoRule);
            }
        }
        assert_eq!(
            told(&profile)["services"][0]["reasons"][0]["outcome"],
            "no_rule"
        );
        // A function that is called what a mark is.
        for location in &mut profile.locations {
            if matches!(location.kind, LocationKind::StackEnd(_)) {
                location.kind = LocationKind::Named;
            }
        }
        assert_eq!(told(&profile)["incomplete"], 0);
    }
}
