//! Measures the whole agent under the standard mix: a C, a Rust and a Go program that keep every
//! processor busy, the agent with its embedded default at 99 Hz.
//!
//! `measure-agent SECONDS`; the numbers are the kernel's: `/proc/PID/stat` and `status`, and the run
//! time statistics and memory of the agent's BPF objects.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use profiler_tests::agent::{self, cpu_seconds};
use profiler_tests::build;
use profiler_tests::workload::Workload;
use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
const MIB: f64 = 1024.0 * 1024.0;

/// A measured number and what it should be at most.
struct Measure {
    name: &'static str,
    value: f64,
    target: Option<f64>,
}

/// The agent while it is measured; killed when dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Switches the run time statistics of BPF programs on, and back when dropped.
struct Statistics(String);

impl Statistics {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).context(STATISTICS)?;
        fs::write(STATISTICS, "1").context(STATISTICS)?;
        Ok(Self(before))
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATISTICS, self.0.trim()) {
            eprintln!("{STATISTICS} stays on: {error}");
        }
    }
}

/// What all programs of a process ran so far.
#[derive(Clone, Copy, Default)]
struct Runs {
    count: f64,
    seconds: f64,
}

fn main() -> ExitCode {
    match measure() {
        Ok(measures) => {
            for Measure {
                name,
                value,
                target,
            } in measures
            {
                let target = target.map_or_else(String::new, |target| {
                    let verdict = if value <= target { "within" } else { "ABOVE" };
                    format!("  {verdict} the target of {target}")
                });
                println!("{name:<44} {value:>10.3}{target}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("measure-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<Vec<Measure>> {
    let seconds: u64 = std::env::args()
        .nth(1)
        .context("usage: measure-agent SECONDS")?
        .parse()?;
    let _statistics = Statistics::on()?;
    let _mix = [build::c("split"), build::rust(), build::go()]
        .map(|program| Workload::start(&mut Command::new(program)));
    let memory_before = bpf_memory()?;

    let start = Instant::now();
    let mut command = agent::command(&["agent"]);
    let agent = Agent(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("the agent")?,
    );
    let pid = agent.0.id();
    while runs(pid).count == 0.0 {
        ensure!(
            start.elapsed() < Duration::from_secs(30),
            "no sample within half a minute"
        );
        wait(Duration::from_millis(5));
    }
    let first_sample = start.elapsed().as_secs_f64();
    // Tables, symbols and the first window are the start's.
    wait(Duration::from_secs(15));
    let start_cpu = cpu_seconds(pid);

    let (steady, runs_before) = (Instant::now(), runs(pid));
    let mut resident = Vec::new();
    while steady.elapsed() < Duration::from_secs(seconds) {
        wait(Duration::from_secs(1));
        resident.push(status_bytes(pid, "VmRSS:")? / MIB);
    }
    let minutes = steady.elapsed().as_secs_f64() / 60.0;
    let runs_after = runs(pid);
    let cpu = cpu_seconds(pid) - start_cpu;
    let count = runs_after.count - runs_before.count;
    let kernel_seconds = runs_after.seconds - runs_before.seconds;
    let memory = bpf_memory()? - memory_before;
    let peak = status_bytes(pid, "VmHWM:")? / MIB;
    kill_process(Pid::from_child(&agent.0), Signal::TERM).context("the agent ended early")?;

    let plain = |name, value| Measure {
        name,
        value,
        target: None,
    };
    let bound = |name, value, target| Measure {
        name,
        value,
        target: Some(target),
    };
    Ok(vec![
        bound("agent CPU, s a minute", cpu / minutes, 0.6),
        plain("agent CPU at the start (15 s), s", start_cpu),
        plain("agent CPU per BPF run, microseconds", cpu * 1e6 / count),
        plain("BPF CPU, s a minute", kernel_seconds / minutes),
        plain("BPF runs a minute", count / minutes),
        bound("BPF run, microseconds", kernel_seconds * 1e6 / count, 10.0),
        plain(
            "resident memory, mean, MiB",
            resident.iter().sum::<f64>() / resident.len() as f64,
        ),
        bound("resident memory, peak, MiB", peak, 60.0),
        bound("BPF memory, MiB", memory / MIB, 24.0),
        bound("first sample, s", first_sample, 0.5),
    ])
}

/// The run time statistics of the programs that a process holds.
fn runs(pid: u32) -> Runs {
    let mut programs = BTreeSet::new();
    let mut runs = Runs::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .into_iter()
        .flatten()
        .flatten()
    {
        // A descriptor may be closed while the list is read.
        let Ok(info) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let field = |name: &str| -> Option<f64> {
            info.lines()
                .find_map(|line| line.strip_prefix(name))?
                .trim()
                .parse()
                .ok()
        };
        let Some(program) = field("prog_id:") else {
            continue;
        };
        // A perf event shows the program that is attached to it.
        if programs.insert(program as u64) {
            runs.count += field("run_cnt:").unwrap_or(0.0);
            runs.seconds += field("run_time_ns:").unwrap_or(0.0) / 1e9;
        }
    }
    runs
}

/// Bytes of all BPF maps and programs of the machine.
fn bpf_memory() -> Result<f64> {
    let mut bytes = 0.0;
    for kind in ["map", "prog"] {
        let output = Command::new("bpftool")
            .args(["--json", kind, "show"])
            .output()
            .context("bpftool")?;
        ensure!(
            output.status.success(),
            "bpftool {kind} show: {}",
            output.status
        );
        let objects: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("bpftool's output")?;
        let objects = objects.as_array().into_iter().flatten();
        bytes += objects
            .filter_map(|object| object["bytes_memlock"].as_f64())
            .sum::<f64>();
    }
    Ok(bytes)
}

/// A size of `/proc/PID/status`, in bytes.
fn status_bytes(pid: u32, field: &str) -> Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the agent ended early")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .context("no such field")?;
    let kib: f64 = value
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("not a size")?;
    Ok(kib * 1024.0)
}

/// Lets time pass: what is measured is what happens in it.
fn wait(duration: Duration) {
    let duration = Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    let _nothing_polled = poll(&mut [], Some(&duration));
}
