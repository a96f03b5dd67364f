//! Runs the agent's commands.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::pprof::Profile;
use crate::workspace;

/// Samples a second in the suites: enough for narrow bounds in a few seconds.
pub const FREQUENCY: u32 = 999;

/// A recording and what the agent said about it.
#[derive(Debug)]
pub struct Recording {
    /// What it saved.
    pub profile: Profile,
    /// What it wrote to standard error.
    pub log: String,
    /// Bytes that it had resident at most, of its own and of files.
    pub peak_resident: u64,
    /// CPU time that it took.
    pub cpu_seconds: f64,
}

/// The agent's executable: `PROFILER_AGENT`, or what `cargo build --release` makes.
///
/// # Panics
///
/// When it cannot be built.
#[must_use]
pub fn executable() -> &'static Path {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        if let Some(path) = std::env::var_os("PROFILER_AGENT") {
            return path.into();
        }
        let status = Command::new("cargo")
            .args(["build", "--release", "--package", "profiler-agent"])
            .current_dir(workspace())
            .status()
            .expect("cargo runs the tests");
        assert!(status.success(), "the agent does not build");
        workspace().join("target/release/profiler-agent")
    })
}

/// The agent's command line, to be completed.
///
/// # Panics
///
/// Without root: the suites profile the machine.
#[must_use]
pub fn command(arguments: &[&str]) -> Command {
    assert!(
        geteuid().is_root(),
        "the suites profile the machine: run them as root (sudo -E cargo xtask test)"
    );
    let mut command = Command::new(executable());
    command.args(arguments);
    command
}

/// Records one process until it has used some seconds of CPU time, however busy the machine is, and
/// interrupts the recording then. At least 95 % of the samples that the time is worth are there.
///
/// # Panics
///
/// When the agent fails or samples are missing.
#[must_use]
pub fn record_process(pid: u32, seconds: f64) -> Recording {
    record_share(pid, seconds, 0.95)
}

/// Records one process until it has used some seconds of CPU time: at least `share` of the samples that the
/// time is worth are there. In a virtual machine that has yet to be given its pages, timers come late while they
/// are touched first, and what a timer missed is no sample.
///
/// # Panics
///
/// When the agent fails or samples are missing.
#[must_use]
pub fn record_share(pid: u32, seconds: f64, share: f64) -> Recording {
    let recording = record_while(pid, |_| works(pid, seconds));
    let least = seconds * f64::from(FREQUENCY) * share;
    let count = recording.profile.count();
    assert!(
        count as f64 >= least,
        "{count} samples of {seconds} s of CPU time\n{}",
        recording.log
    );
    recording
}

/// Records one process until `use_agent`, which gets the agent when it samples, has returned.
///
/// # Panics
///
/// When the agent fails.
#[must_use]
pub fn record_while(pid: u32, use_agent: impl FnOnce(Pid)) -> Recording {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("profile.pb.gz");
    let mut command = command(&["record", "-d", "600", "-F", &FREQUENCY.to_string()]);
    command.args(["-p", &pid.to_string(), "-o"]).arg(&file);
    let agent = command.stderr(Stdio::piped()).spawn();
    let agent = agent.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    until("the agent samples", || samples(agent.id()));
    use_agent(Pid::from_child(&agent));
    kill_process(Pid::from_child(&agent), Signal::INT).expect("the agent still runs");
    end(&command, agent, &file)
}

/// Waits until a process has used some seconds of CPU time more.
///
/// # Panics
///
/// When it does not.
pub fn works(pid: u32, seconds: f64) {
    let start = cpu_seconds(pid);
    until("the workload works", || cpu_seconds(pid) >= start + seconds);
}

/// Records with these arguments; frequency and file are given.
///
/// # Panics
///
/// When the agent fails.
#[must_use]
pub fn record(arguments: &[&str]) -> Recording {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("profile.pb.gz");
    let mut command = command(&["record", "-F", &FREQUENCY.to_string()]);
    command.arg("-o").arg(&file).args(arguments);
    let agent = command.stderr(Stdio::piped()).spawn();
    let agent = agent.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    end(&command, agent, &file)
}

/// Waits for a recording's end, looking at what it costs.
fn end(command: &Command, mut agent: Child, file: &Path) -> Recording {
    let (mut peak_resident, mut cpu) = (0, 0.0);
    let interval = Timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    while agent.try_wait().expect("the agent is ours").is_none() {
        // Both only grow. A process that has ended but was not waited for has no memory any more.
        peak_resident =
            high_water(agent.id()).map_or(peak_resident, |bytes| bytes.max(peak_resident));
        cpu = f64::max(cpu, cpu_seconds(agent.id()));
        let _nothing_polled = poll(&mut [], Some(&interval));
    }
    let output = agent.wait_with_output().expect("the agent has ended");
    let log = log(&output);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{log}",
        output.status
    );
    Recording {
        profile: Profile::read(file),
        log,
        peak_resident,
        cpu_seconds: cpu,
    }
}

/// Bytes that a process had resident at most.
fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Runs a command to its end.
///
/// # Panics
///
/// When it cannot be started.
pub fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits until a condition holds.
///
/// # Panics
///
/// When it does not within two minutes.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "{what}: not within two minutes"
        );
        let interval = Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        let _nothing_polled = poll(&mut [], Some(&interval));
    }
}

/// Does this process sample every CPU? It has two perf events for each then: it follows processes
/// with the one before it samples with the other.
#[must_use]
pub fn samples(pid: u32) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let events = files.flatten().filter(|file| {
        std::fs::read_link(file.path())
            .is_ok_and(|target| target.as_os_str() == "anon_inode:[perf_event]")
    });
    events.count() >= 2 * online_cpus()
}

/// CPUs that are online: each has a line of its own behind the first.
fn online_cpus() -> usize {
    let status = std::fs::read_to_string("/proc/stat").expect("/proc is mounted");
    status
        .lines()
        .filter(|line| line.starts_with("cpu"))
        .count()
        - 1
}

/// CPU time of a process so far, in seconds, as the kernel counts it.
///
/// # Panics
///
/// When there is no such process.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // Behind the name, which may hold anything: state, then the fields from number 4 on.
    let fields = status.rsplit_once(')').expect("a name in brackets").1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<f64>().expect("a number of ticks"))
        .sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// What a program wrote to standard error.
#[must_use]
pub fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The stacks of a profile, most frequent first, for messages of failed claims.
#[must_use]
pub fn show(profile: &Profile, most: usize) -> String {
    let mut samples: Vec<_> = profile.samples.iter().collect();
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.count()));
    let mut text = String::new();
    for sample in samples.iter().take(most) {
        let functions = sample.functions();
        let start = functions.len().saturating_sub(40);
        let shown = functions[start..].join(" -> ");
        let _infallible = writeln!(
            text,
            "{:>6} {} {}",
            sample.count(),
            sample.label("comm"),
            shown
        );
    }
    text
}
