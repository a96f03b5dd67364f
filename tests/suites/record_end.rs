//! How a recording of a command ends when its time is over before the command's.

use std::time::{Duration, Instant};

use profiler_tests::agent::{self, log};
use profiler_tests::build::text;
use profiler_tests::pprof::Profile;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Records a shell's script for a second, which would run for minutes; what the recorder said.
fn record(script: &str) -> String {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("a.pb.gz");
    let start = Instant::now();
    let mut command = agent::command(&["record", "-d", "1", "-o", text(&file), "--", "sh", "-c"]);
    let output = agent::run(command.arg(script));
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(output.status.success(), "{}", log(&output));
    assert!(Profile::read(&file).count() > 0);
    log(&output)
}

#[test]
fn a_command_that_runs_on_is_ended() {
    // It says that it was asked.
    let said = record("trap 'echo asked to end >&2; exit 3' TERM; while :; do :; done");
    assert!(said.contains("asked to end"), "{said}");
}

#[test]
fn a_command_that_does_not_end_is_left_and_named() {
    // What the recorder says is read to its end: the command has no part of it.
    let said = record("exec >/dev/null 2>&1; trap '' TERM; while :; do :; done");
    let (_, after) = said.split_once("kill -KILL ").expect("the fix is said");
    let number = after.split_whitespace().next().expect("a number");
    let pid = Pid::from_raw(number.parse().expect("a number")).expect("not zero");
    // It runs, until somebody does as was said.
    kill_process(pid, Signal::KILL).expect("the command runs");
}
