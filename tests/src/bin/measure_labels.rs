//! What a sample of a Go program with four labels costs in the kernel beside one without: the agent runs
//! all the time, the two kinds of program take turns.
//!
//! `measure-labels SECONDS`, for each turn; the numbers are the kernel's ([`profiler_tests::measure`]).

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result};
use profiler_tests::measure::{Profiler, Statistics, measure};
use profiler_tests::workload::Workload;
use profiler_tests::{agent, build};

/// Turns of each kind.
const TURNS: usize = 3;
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
    // The first one is there while the agent starts: its table is loaded then.
    let mut workload = Some(Workload::start(&mut Command::new(&program)));
    let mut agent = Profiler::start(&mut agent::command(&["agent"])).context("the agent")?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for (labels, costs) in [(&[][..], &mut without), (&["labels"][..], &mut with)] {
            drop(workload.take());
            workload = Some(Workload::start(Command::new(&program).args(labels)));
            let [cost] = measure([&mut agent], Duration::from_secs(seconds))?;
            costs.push(cost.run_microseconds);
        }
    }
    agent.stop()?;
    let (without, with) = (least(&without), least(&with));
    let verdict = if with - without <= TARGET {
        "within"
    } else {
        "ABOVE"
    };
    println!("BPF run of a Go sample, microseconds         {without:>10.3}");
    println!("the same with four labels                    {with:>10.3}");
    let more = with - without;
    println!(
        "what the labels add                          {more:>10.3}  {verdict} the target of {TARGET}"
    );
    Ok(())
}

/// The turn that was disturbed least.
fn least(costs: &[f64]) -> f64 {
    costs.iter().copied().fold(f64::INFINITY, f64::min)
}
