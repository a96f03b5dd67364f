//! What a sample of a Go program with four labels costs in the kernel beside one without: one agent and one
//! program run all the time, the program's goroutines have labels in every second turn. The agent samples ten
//! times as often as it does by default: a turn has to hold many samples. Turns are short and many, so that what else
//! the machine does is in both kinds, and the median of the pairs' differences says something.
//!
//! `measure-labels SECONDS`, for all turns; the numbers are the kernel's ([`profiler_tests::measure`]).

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use profiler_tests::build::text;
use profiler_tests::daemon::configuration_in;
use profiler_tests::measure::{Profiler, Statistics};
use profiler_tests::workload::Workload;
use profiler_tests::{agent, build};
use rustix::process::Signal;
use tempfile::TempDir;

/// A turn.
const TURN: Duration = Duration::from_millis(500);
/// Most that reading the labels may add to a sample, in microseconds.
const TARGET: f64 = 1.0;

fn main() -> ExitCode {
    match measures() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure-labels: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measures() -> Result<()> {
    let seconds: u64 = std::env::args()
        .nth(1)
        .context("usage: measure-labels SECONDS")?
        .parse()?;
    let _agent = agent::executable();
    let program = build::go_cost();
    let _statistics = Statistics::on()?;
    // It is there while the agent starts: its table is loaded then.
    let mut workload = Workload::start(&mut Command::new(&program));
    let directory = TempDir::new()?;
    let config = directory.path().join("agent.yaml");
    let often = "sampling: {frequency: 997}\n";
    fs::write(&config, configuration_in(directory.path()) + often)?;
    let mut agent = Profiler::start(&mut agent::command(&["agent", "--config", text(&config)]))
        .context("the agent")?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..seconds * 1000 / (2 * TURN.as_millis() as u64) {
        for (signal, state, costs) in [
            (Signal::USR2, "plain", &mut without),
            (Signal::USR1, "labelled", &mut with),
        ] {
            ensure!(workload.ask(signal) == state, "the workload did not switch");
            costs.push(agent.run_microseconds(TURN)?);
        }
    }
    agent.stop()?;
    // The difference of two turns beside each other: what else the machine does is in both.
    let mut differences: Vec<f64> = without.iter().zip(&with).map(|(a, b)| b - a).collect();
    let more = median(&mut differences);
    let (without, with) = (median(&mut without), median(&mut with));
    let verdict = if more <= TARGET { "within" } else { "ABOVE" };
    println!("BPF run of a Go sample, microseconds         {without:>10.3}");
    println!("the same with four labels                    {with:>10.3}");
    println!(
        "what the labels add                          {more:>10.3}  {verdict} the target of {TARGET}"
    );
    Ok(())
}

fn median(costs: &mut [f64]) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
