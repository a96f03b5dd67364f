//! Measures the agent and the eBPF profiler of OpenTelemetry side by side: the same seconds of the same
//! standard mix, both at 99 Hz on the whole machine, both exporting by OTLP to a collector that drops what
//! comes. The agent keeps nothing of an earlier run.
//!
//! `compare-agents SECONDS`; the numbers are the kernel's ([`profiler_tests::measure`]). The second is
//! started when the start of the first is over.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use profiler_tests::agent;
use profiler_tests::build::text;
use profiler_tests::daemon::{configuration_in, free_address};
use profiler_tests::measure::{Cost, Profiler, Statistics, bpf_memory, measure, standard_mix};
use profiler_tests::peer::build;
use profiler_tests::peer::collector::{Collector, Exporter};
use tempfile::TempDir;

const TRACING: &str = "/sys/kernel/tracing";

/// The file system that the other profiler looks up tracepoints in; unmounted when dropped if it was
/// not mounted before.
struct Tracing {
    mounted_here: bool,
}

impl Tracing {
    fn mounted() -> Result<Self> {
        let mounted_here = !Path::new(TRACING).join("events").is_dir();
        if mounted_here {
            println!("mounting tracefs on {TRACING}: the other profiler needs it");
            run(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACING]))?;
        }
        Ok(Self { mounted_here })
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if self.mounted_here
            && let Err(error) = run(Command::new("umount").arg(TRACING))
        {
            eprintln!("tracefs stays mounted: {error:#}");
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

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
    let (program, version) = (build::ebpf_profiler(), build::ebpf_profiler_version());
    // Built before anything is measured.
    let _ours = agent::executable();
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
    let mut theirs = Profiler::start(
        Command::new(program)
            .arg(format!("-collection-agent={endpoint}"))
            .args(["-disable-tls", "-samples-per-second", "99"]),
    )
    .with_context(|| format!("ebpf-profiler {version}"))?;
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
