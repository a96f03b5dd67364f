//! What a sample of a Go program with four labels costs in the kernel beside one without: one agent and one
//! program run all the time, the program's goroutines have labels in every second turn. The agent samples ten
//! times as often as it does by default: a turn has to hold many samples. Turns are short and many, so that what else
//! the machine does is in both kinds, and the median of the pairs' differences says something.
//!
//! `measure-labels SECONDS [--with-peers]`, for all turns; the numbers are the kernel's
//! ([`profiler_tests::measure`]). With peers the eBPF profiler of OpenTelemetry samples the same turns as often.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use profiler_tests::build::text;
use profiler_tests::daemon::{configuration_in, free_address};
use profiler_tests::measure::{Profiler, Statistics, run_microseconds};
use profiler_tests::peer::collector::{Collector, Exporter};
use profiler_tests::peer::profiler::Tracing;
use profiler_tests::peer::{self, profiler};
use profiler_tests::workload::Workload;
use profiler_tests::{agent, build};
use rustix::process::Signal;
use tempfile::TempDir;

/// Samples a second on each CPU.
const HERTZ: u32 = 997;
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
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: measure-labels SECONDS [--with-peers]";
    let seconds: u64 = arguments.next().context(usage)?.parse()?;
    let with_peers = match arguments.next() {
        None => false,
        Some(argument) if argument == "--with-peers" => true,
        Some(_) => bail!(usage),
    };
    ensure!(seconds > 0, usage);
    let _agent = agent::executable();
    let program = build::go_cost();
    let peer = with_peers.then(Peer::prepare).transpose()?;
    let _statistics = Statistics::on()?;
    // It is there while they start: its table is loaded then.
    let mut workload = Workload::start(&mut Command::new(&program));
    let directory = TempDir::new()?;
    let config = directory.path().join("agent.yaml");
    let often = format!("sampling: {{frequency: {HERTZ}}}\n");
    fs::write(&config, configuration_in(directory.path()) + &often)?;
    let agent = Profiler::start(&mut agent::command(&["agent", "--config", text(&config)]))
        .context("the agent")?;
    let mut profilers = vec![agent];
    if let Some(peer) = &peer {
        profilers.push(profiler::start(peer.collector.grpc(), HERTZ)?);
    }
    let mut costs = vec![Costs::default(); profilers.len()];
    for _ in 0..seconds * 1000 / (2 * TURN.as_millis() as u64) {
        let mut turn = |signal, state: &str| {
            ensure!(workload.ask(signal) == state, "the workload did not switch");
            run_microseconds(&mut profilers, TURN)
        };
        let (without, with) = (
            turn(Signal::USR2, "plain")?,
            turn(Signal::USR1, "labelled")?,
        );
        for ((costs, without), with) in costs.iter_mut().zip(without).zip(with) {
            costs.without.push(without);
            costs.with.push(with);
            // What else the machine does is in both turns of a pair.
            costs.more.push(with - without);
        }
    }
    for profiler in profilers {
        profiler.stop()?;
    }
    let [ours, theirs @ ..] = &mut *costs else {
        bail!("nothing was measured");
    };
    print("BPF run of a Go sample", ours, theirs, |costs| {
        &mut costs.without
    });
    print("the same with four labels", ours, theirs, |costs| {
        &mut costs.with
    });
    // Not theirs: without labels it reads through a null pointer, and that fault costs what labels cost.
    let more = median(&mut ours.more);
    let verdict = if more <= TARGET { "within" } else { "ABOVE" };
    println!(
        "{:<40} {more:>10.3} microseconds: {verdict} the target of {TARGET}",
        "what the labels add"
    );
    Ok(())
}

/// What the other profiler needs.
struct Peer {
    collector: Collector,
    _tracing: Tracing,
}

impl Peer {
    fn prepare() -> Result<Self> {
        let _built = peer::build::ebpf_profiler();
        println!(
            "in the same turns; theirs: OpenTelemetry eBPF profiler {}",
            peer::build::ebpf_profiler_version()
        );
        Ok(Self {
            collector: Collector::start(free_address(), Exporter::Nop),
            _tracing: Tracing::mounted()?,
        })
    }
}

/// Mean times of a run, of each turn or pair of turns, in microseconds.
#[derive(Clone, Default)]
struct Costs {
    without: Vec<f64>,
    with: Vec<f64>,
    more: Vec<f64>,
}

/// A line of medians: ours, theirs where they were measured, and how many times ours theirs are.
fn print(what: &str, ours: &mut Costs, theirs: &mut [Costs], of: fn(&mut Costs) -> &mut Vec<f64>) {
    let ours = median(of(ours));
    print!("{what:<40} {ours:>10.3} microseconds");
    for theirs in theirs {
        let theirs = median(of(theirs));
        print!(", theirs {theirs:.3}: {:.2} times", theirs / ours);
    }
    println!();
}

fn median(costs: &mut [f64]) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}
