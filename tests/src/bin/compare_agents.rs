//! Measures the agent and the eBPF profiler of OpenTelemetry side by side: the same seconds of the same
//! standard mix, both at 99 Hz on the whole machine, both exporting by OTLP to a collector that drops what
//! comes. The agent keeps nothing of an earlier run.
//!
//! `compare-agents SECONDS`; the numbers are the kernel's ([`profiler_tests::measure`]). The second is
//! started when the start of the first is over.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use profiler_tests::agent;
use profiler_tests::build::text;
use profiler_tests::daemon::{configuration_in, free_address};
use profiler_tests::measure::{Cost, Profiler, Statistics, bpf_memory, measure, standard_mix};
use profiler_tests::peer::collector::{Collector, Exporter};
use profiler_tests::peer::profiler::Tracing;
use profiler_tests::peer::{build, profiler};
use tempfile::TempDir;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare-agents: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let seconds: u64 = std::env::args()
        .nth(1)
        .context("usage: compare-agents SECONDS")?
        .parse()?;
    // Built before anything is measured.
    let (_theirs, _ours) = (build::ebpf_profiler(), agent::executable());
    let version = build::ebpf_profiler_version();
    let collector = Collector::start(free_address(), Exporter::Nop);
    let _tracing = Tracing::mounted()?;
    let _statistics = Statistics::on()?;
    let _mix = standard_mix();
    let memory_before = bpf_memory()?;

    let directory = TempDir::new()?;
    let config = directory.path().join("agent.yaml");
    fs::write(&config, configuration_in(directory.path()))?;
    let endpoint = collector.grpc();
    let mut ours = Profiler::start(
        agent::command(&["agent", "--config", text(&config)])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{endpoint}")),
    )
    .context("the agent")?;
    let mut theirs = profiler::start(endpoint, 99)?;
    let costs = measure([&mut ours, &mut theirs], Duration::from_secs(seconds))?;
    // The other one closes descriptors of maps that it goes on using, this one none: the rest is its.
    let memory = ours.held_bpf_memory();
    let memory = [memory, bpf_memory()? - memory_before - memory];
    ours.stop()?;
    theirs.stop()?;
    print(&version, costs, memory);
    Ok(())
}

fn print(version: &str, [ours, theirs]: [Cost; 2], memory: [f64; 2]) {
    println!("both at 99 Hz, in the same run; theirs: OpenTelemetry eBPF profiler {version}");
    println!(
        "{:<40} {:>10} {:>10} {:>13}",
        "", "ours", "theirs", "theirs / ours"
    );
    let line = |name: &str, [ours, theirs]: [f64; 2]| {
        let ratio = theirs / ours;
        println!("{name:<40} {ours:>10.3} {theirs:>10.3} {ratio:>13.2}");
    };
    let both = |name: &str, of: fn(&Cost) -> f64| line(name, [of(&ours), of(&theirs)]);
    both("agent CPU, s a minute", |cost| cost.cpu);
    both("agent CPU at the start (15 s), s", |cost| cost.start_cpu);
    both("BPF CPU, s a minute", |cost| cost.bpf_cpu);
    both("BPF run, microseconds", |cost| cost.run_microseconds);
    both("runs of the sampling program a minute", |cost| cost.runs);
    both("resident memory, mean, MiB", |cost| cost.resident_mean);
    both("resident memory, peak, MiB", |cost| cost.resident_peak);
    line("BPF memory, MiB", memory);
    both("first sample, s", |cost| cost.first_sample);
}
