//! `profiler-agent doctor`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{exit, terminal};
use crate::collect::survey::{Attempt, Feature, State, Survey};
use crate::telemetry::log;

/// The command line of `doctor`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Prints one JSON document instead of lines for a person.
    #[arg(long)]
    json: bool,
}

/// What is printed for machines. The names are an interface: they stay.
#[derive(Serialize)]
struct Report<'a> {
    state: &'a str,
    programs: Vec<ProgramLine>,
    features: Vec<FeatureLine<'a>>,
}

#[derive(Serialize)]
struct ProgramLine {
    name: &'static str,
    /// How it walks stacks, or which walk it would have belonged to.
    walk: Option<&'static str>,
    loaded: bool,
    verified_instructions: Option<u32>,
    load_microseconds: Option<u64>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct FeatureLine<'a> {
    name: &'a str,
    state: &'a str,
    detail: &'a str,
    fix: Option<&'a str>,
}

/// Runs the command: what this host offers, and an exit code that says whether the agent can run.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    log::to_terminal(log::LogLevel::Error);
    let survey = Survey::take();
    let printed = terminal::print(match arguments.json {
        true => json(&survey),
        false => text(&survey),
    });
    if let Err(code) = printed {
        return code;
    }
    match survey.state() {
        State::Ok | State::Degraded => ExitCode::SUCCESS,
        State::Missing if survey.lacks_privilege() => exit::PRIVILEGE.into(),
        State::Missing => exit::FAILED.into(),
    }
}

fn json(survey: &Survey) -> String {
    let report = Report {
        state: survey.state().name(),
        programs: survey.attempts.iter().flat_map(programs).collect(),
        features: survey.features.iter().map(feature).collect(),
    };
    serde_json::to_string(&report).expect("strings and numbers only")
}

fn programs(attempt: &Attempt) -> Vec<ProgramLine> {
    match &attempt.loaded {
        Ok(loaded) => loaded
            .costs
            .iter()
            .map(|cost| ProgramLine {
                name: cost.name,
                walk: cost.way.map(crate::collect::Way::name),
                loaded: true,
                verified_instructions: cost.verified_instructions,
                load_microseconds: Some(cost.load_time.as_micros() as u64),
                reason: None,
            })
            .collect(),
        Err(error) => vec![ProgramLine {
            name: "sample",
            walk: Some(attempt.way.name()),
            loaded: false,
            verified_instructions: None,
            load_microseconds: None,
            reason: Some(error.to_string()),
        }],
    }
}

fn feature(feature: &Feature) -> FeatureLine<'_> {
    FeatureLine {
        name: feature.name,
        state: feature.state.name(),
        detail: &feature.detail,
        fix: feature.fix.as_deref(),
    }
}

fn text(survey: &Survey) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for feature in &survey.features {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<9} {}: {}",
            feature.state.name(),
            feature.name,
            feature.detail
        );
        if let Some(fix) = &feature.fix {
            let _ = writeln!(text, "          fix: {fix}");
        }
    }
    for line in survey.attempts.iter().flat_map(programs) {
        let walk = line.walk.map_or(String::new(), |walk| format!(" ({walk})"));
        let _ = match line.reason {
            None => {
                let count = line.verified_instructions.map_or_else(
                    || "the kernel does not count verified instructions".to_owned(),
                    |count| format!("{count} verified instructions"),
                );
                writeln!(text, "loaded    {}{walk}: {count}", line.name)
            }
            Some(reason) => writeln!(text, "refused   {}{walk}: {reason}", line.name),
        };
    }
    text
}
