//! What a profiler costs, in the kernel's numbers: `/proc/PID/stat` and `status`, and the run time
//! statistics and memory of the BPF objects that it holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::agent::cpu_seconds;
use crate::build;
use crate::workload::Workload;

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// `BPF_PROG_TYPE_PERF_EVENT`: programs that take samples.
const PERF_EVENT: u64 = 7;
/// Tables, symbols and the first window are the start's.
const START: Duration = Duration::from_secs(15);
const MIB: f64 = 1024.0 * 1024.0;

/// A C, a Rust and a Go program that keep every processor busy, for two minutes at most.
#[must_use]
pub fn standard_mix() -> [Workload; 3] {
    [build::c("split"), build::rust(), build::go()]
        .map(|program| Workload::start(&mut Command::new(program)))
}

/// Switches the run time statistics of BPF programs on, and back when dropped.
#[derive(Debug)]
pub struct Statistics(String);

impl Statistics {
    /// Switches them on.
    pub fn on() -> Result<Self> {
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

/// A profiler that runs; killed when dropped.
#[derive(Debug)]
pub struct Profiler {
    child: Child,
    output: TempDir,
    started: Instant,
    first_sample: f64,
    start_cpu: f64,
}

/// What a profiler cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Its CPU time, in seconds a minute.
    pub cpu: f64,
    /// Its CPU time in the first 15 s, in seconds.
    pub start_cpu: f64,
    /// CPU time of its BPF programs, in seconds a minute.
    pub bpf_cpu: f64,
    /// Runs a minute of its programs that take samples.
    pub runs: f64,
    /// Mean time of such a run, in microseconds.
    pub run_microseconds: f64,
    /// Mean of its resident memory, in MiB.
    pub resident_mean: f64,
    /// Its most resident memory, in MiB.
    pub resident_peak: f64,
    /// Time from its start to its first sample, in seconds.
    pub first_sample: f64,
}

impl Profiler {
    /// Starts it, and waits until its start is over. What it says is shown where it fails.
    pub fn start(command: &mut Command) -> Result<Self> {
        let output = TempDir::new()?;
        let file = File::create(output.path().join("output"))?;
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let mut profiler = Self {
            child,
            output,
            started,
            first_sample: 0.0,
            start_cpu: 0.0,
        };
        while profiler.runs().sampling == 0.0 {
            profiler.ensure_runs()?;
            ensure!(
                profiler.started.elapsed() < 2 * START,
                "no sample within half a minute: {}",
                profiler.said()
            );
            wait(Duration::from_millis(5));
        }
        profiler.first_sample = profiler.started.elapsed().as_secs_f64();
        wait(START.saturating_sub(profiler.started.elapsed()));
        profiler.ensure_runs()?;
        profiler.start_cpu = cpu_seconds(profiler.child.id());
        Ok(profiler)
    }

    /// Memory of the BPF maps and programs that it holds, in MiB.
    #[must_use]
    pub fn held_bpf_memory(&self) -> f64 {
        let objects = ["map_id:", "prog_id:"].map(|id| held(self.child.id(), id));
        let infos = objects.iter().flat_map(BTreeMap::values);
        infos.map(|info| info["memlock:"]).sum::<f64>() / MIB
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        self.ensure_runs()?;
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    fn ensure_runs(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "ended, {ended:?}: {}", self.said());
        Ok(())
    }

    fn said(&self) -> String {
        let bytes = fs::read(self.output.path().join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn runs(&self) -> Runs {
        let mut runs = Runs::default();
        for program in held(self.child.id(), "prog_id:").values() {
            let seconds = program["run_time_ns:"] / 1e9;
            runs.seconds += seconds;
            if program["prog_type:"] as u64 == PERF_EVENT {
                runs.sampling += program["run_cnt:"];
                runs.sampling_seconds += seconds;
            }
        }
        runs
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// What profilers cost in the same time.
pub fn measure<const N: usize>(
    mut profilers: [&mut Profiler; N],
    duration: Duration,
) -> Result<[Cost; N]> {
    let start = Instant::now();
    let before = profilers
        .each_ref()
        .map(|profiler| (cpu_seconds(profiler.child.id()), profiler.runs()));
    let mut resident = [const { Vec::new() }; N];
    while start.elapsed() < duration {
        wait(Duration::from_secs(1));
        for (profiler, resident) in profilers.iter_mut().zip(&mut resident) {
            profiler.ensure_runs()?;
            resident.push(status_mib(profiler.child.id(), "VmRSS:")?);
        }
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let mut costs = Vec::new();
    for ((profiler, (cpu, runs)), resident) in profilers.iter().zip(before).zip(&resident) {
        let (pid, after) = (profiler.child.id(), profiler.runs());
        let count = after.sampling - runs.sampling;
        costs.push(Cost {
            cpu: (cpu_seconds(pid) - cpu) / minutes,
            start_cpu: profiler.start_cpu,
            bpf_cpu: (after.seconds - runs.seconds) / minutes,
            runs: count / minutes,
            run_microseconds: after.mean_since(&runs),
            resident_mean: resident.iter().sum::<f64>() / resident.len() as f64,
            resident_peak: status_mib(pid, "VmHWM:")?,
            first_sample: profiler.first_sample,
        });
    }
    Ok(costs.try_into().expect("one for each profiler"))
}

/// Mean time of a run of the programs of each that take samples in the next `duration`, in microseconds.
pub fn run_microseconds(profilers: &mut [Profiler], duration: Duration) -> Result<Vec<f64>> {
    let before: Vec<Runs> = profilers.iter().map(Profiler::runs).collect();
    wait(duration);
    let mut means = Vec::new();
    for (profiler, before) in profilers.iter_mut().zip(&before) {
        profiler.ensure_runs()?;
        means.push(profiler.runs().mean_since(before));
    }
    Ok(means)
}

/// What all programs of a process ran so far.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    seconds: f64,
    sampling: f64,
    sampling_seconds: f64,
}

impl Runs {
    /// Mean time of a sampling program's run since `before`, in microseconds.
    fn mean_since(&self, before: &Self) -> f64 {
        (self.sampling_seconds - before.sampling_seconds) * 1e6 / (self.sampling - before.sampling)
    }
}

/// What the kernel says of a BPF object, by the field's name.
type Info = BTreeMap<&'static str, f64>;

/// The fields of objects that are read.
const FIELDS: [&str; 4] = ["prog_type:", "run_time_ns:", "run_cnt:", "memlock:"];

/// The BPF objects that a process has descriptors of, by id.
fn held(pid: u32, id: &str) -> BTreeMap<u64, Info> {
    let mut objects = BTreeMap::new();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo"));
    for entry in descriptors.into_iter().flatten().flatten() {
        // A descriptor may be closed while the list is read.
        let Ok(text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        let field = |name: &str| -> Option<f64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse().ok()
        };
        let Some(id) = field(id) else { continue };
        // A link and a perf event show the program too, without its numbers.
        let object: &mut Info = objects.entry(id as u64).or_default();
        for name in FIELDS {
            let value = object.entry(name).or_default();
            *value = value.max(field(name).unwrap_or(0.0));
        }
    }
    objects
}

/// Memory of all BPF maps and programs of the machine, in MiB.
pub fn bpf_memory() -> Result<f64> {
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
    Ok(bytes / MIB)
}

/// A size of `/proc/PID/status`, in MiB.
///
/// # Errors
///
/// There is no such process, or it has no such field.
pub fn status_mib(pid: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("it ended early")?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .context("no such field")?;
    let kib: f64 = value
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .context("not a size")?;
    Ok(kib / 1024.0)
}

/// Lets time pass: what is measured is what happens in it.
fn wait(duration: Duration) {
    let duration = Timespec {
        tv_sec: duration.as_secs().cast_signed(),
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    let _nothing_polled = poll(&mut [], Some(&duration));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profiler_that_ends_at_once_is_an_error_with_what_it_said() {
        let error = Profiler::start(Command::new("sh").args(["-c", "echo no privilege; exit 77"]));
        let error = error.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("no privilege"), "{error}");
    }

    #[test]
    fn sizes_of_this_process_are_read() {
        let pid = std::process::id();
        let (now, most) = (status_mib(pid, "VmRSS:"), status_mib(pid, "VmHWM:"));
        assert!(now.unwrap() > 0.0 && most.unwrap() > 0.0);
        assert!(status_mib(pid, "NoSuchField:").is_err());
    }
}
