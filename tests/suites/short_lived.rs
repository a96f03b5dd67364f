//! Processes that live for 20 ms are counted, unwound and named like all others.

use std::collections::BTreeSet;
use std::process::Command;

use profiler_tests::agent::{self, FREQUENCY, record};
use profiler_tests::build::{c, text};
use profiler_tests::claim::{C_ROOTS, has_samples, holds, is_in, is_named, passes};
use profiler_tests::go::program::{Variant, build_stacks};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::Workload;
use tempfile::TempDir;

/// What is kept of the samples that the swarm's CPU time is worth, at least.
const KEPT: f64 = 0.9;
/// The kernel's loader, the dynamic loader and the exit are short, but not nothing.
const NAMED: f64 = 0.95;
/// Loading and ending are counted in a short life's 20 ms.
const OWN: f64 = 0.85;

#[test]
fn a_swarm_of_short_lives_is_kept_and_named() {
    let brief = c("brief");
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("swarm.pb.gz");
    // Six hundred, because the first one's tables are built while it runs.
    // The swarm is the recorded command: its CPU time and the recording cover the same time.
    let mut command = agent::command(&[
        "record",
        "-F",
        &FREQUENCY.to_string(),
        "-o",
        text(&file),
        "--",
    ]);
    let output = agent::run(command.arg(c("swarm")).arg(&brief).arg("600"));
    let log = agent::log(&output);
    assert!(output.status.success(), "{log}");
    let said = String::from_utf8_lossy(&output.stdout);
    let cpu_seconds: f64 = said
        .lines()
        .find_map(|line| line.strip_prefix("cpu_seconds "))
        .and_then(|number| number.parse().ok())
        .expect("the swarm says its CPU time");
    let profile = Profile::read(&file);
    let swarm = profile.only(|sample| sample.label("comm") == "brief");
    let expected = cpu_seconds * f64::from(FREQUENCY);
    assert!(
        swarm.count() as f64 >= expected * KEPT && swarm.count() as f64 <= expected * 1.1,
        "{} samples of {expected:.0} that {cpu_seconds} s are worth\n{log}",
        swarm.count()
    );
    holds(&swarm, "is named", NAMED, |sample| {
        sample.frames.iter().all(is_named)
    });
    holds(&swarm, "burns below its own functions", OWN, |sample| {
        is_in(sample, &["main", "brief_work", "brief_burn"])
    });
    let burning = swarm.clone().only(|sample| is_in(sample, &["brief_burn"]));
    holds(&burning, "reaches the root", 0.995, |sample| {
        sample
            .frames
            .first()
            .is_some_and(|frame| C_ROOTS.contains(&frame.function.as_str()))
    });
    let pids: BTreeSet<&str> = swarm
        .samples
        .iter()
        .map(|sample| sample.label("pid"))
        .collect();
    assert!(pids.len() >= 600, "{} processes", pids.len());
}

#[test]
fn a_swarm_is_seen_on_the_whole_machine_too() {
    let mut driver = Command::new(c("swarm"));
    let workload = Workload::start(driver.arg(c("brief")));
    let recording = record(&["-d", "4"]);
    let truth = workload.stop();
    assert!(truth.numbers["started"] > 20.0);
    let swarm = recording
        .profile
        .only(|sample| sample.label("comm") == "brief");
    has_samples(&swarm, 300);
    holds(&swarm, "is named", NAMED, |sample| {
        sample.frames.iter().all(is_named)
    });
    holds(&swarm, "burns below its own functions", OWN, |sample| {
        is_in(sample, &["main", "brief_work", "brief_burn"])
    });
}

/// Where stacks of Go's programs begin: goroutines, and what a thread does for none.
const GO_ROOTS: &[&str] = &[
    "runtime.goexit",
    "runtime.mstart",
    "runtime.mstart1",
    "runtime.rt0_go",
    "runtime.mcall",
    "runtime.morestack",
    "_rt0_amd64_linux",
];

/// Each life is over before anything could be known of it that is not in its samples.
#[test]
fn short_lives_in_go_are_whole_on_both_of_their_stacks() {
    let toolchain = Toolchain::get(VERSIONS[VERSIONS.len() - 1]);
    let program = build_stacks(&toolchain, Variant::Default);
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("lives.pb.gz");
    let mut command = agent::command(&["record", "-F", "997", "-o", text(&file), "--"]);
    let lives = command.arg(c("swarm")).arg(&program).args(["150", "brief"]);
    let output = agent::run(lives);
    let log = agent::log(&output);
    assert!(output.status.success(), "{log}");
    let name = program.file_name().expect("a name").to_string_lossy();
    let comm: String = name.chars().take(15).collect();
    let lives = Profile::read(&file).only(|sample| sample.label("comm") == comm);
    has_samples(&lives, 1000);
    // `execve` before it, and the end behind it.
    let inside = lives.only(|sample| {
        sample
            .frames
            .iter()
            .any(|frame| frame.function.contains('.'))
    });
    let growing = inside
        .clone()
        .only(|sample| is_in(sample, &["runtime.copystack"]));
    has_samples(&growing, 50);
    // The runtime needs more stack for itself too, when a program starts and when it allocates.
    let callers = ["main.deepen", "main.plant", "runtime.gcenable"];
    holds(&growing, "is called by whom needs it", 0.97, |sample| {
        callers
            .iter()
            .any(|caller| passes(sample, &["runtime.goexit", caller, "runtime.newstack"]))
    });
    holds(&inside, "reaches a root", 0.97, |sample| {
        sample
            .frames
            .first()
            .is_some_and(|frame| GO_ROOTS.iter().any(|root| frame.function.starts_with(root)))
    });
}
