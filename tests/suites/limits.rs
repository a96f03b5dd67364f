//! Limits that a host sets: the agent names the one that is too small, and does with less where it can.

use std::process::Command;

use profiler_tests::agent::{executable, log, run};
use tempfile::TempDir;

/// Records a busy child for a moment as a process that may have so many files open.
fn record(files: &str, directory: &TempDir) -> Command {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--nofile={files}:{files}"))
        .arg(executable())
        .args(["record", "-F", "997", "-o"])
        .arg(directory.path().join("busy.collapsed"))
        .args(["--", "sh", "-c"])
        .arg("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    command
}

#[test]
fn too_few_open_files_are_called_so() {
    let directory = TempDir::new().expect("a temporary directory");
    let output = run(&mut record("24", &directory));
    let log = log(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("the agent may have 24 files open (RLIMIT_NOFILE)"),
        "{log}"
    );
    assert!(log.contains("LimitNOFILE="), "no fix: {log}");
    assert!(!log.contains("kernel"), "it is not the kernel: {log}");
}

#[test]
fn with_few_open_files_there_are_samples_and_fewer_names() {
    let directory = TempDir::new().expect("a temporary directory");
    let cpus = std::thread::available_parallelism().expect("CPUs can be counted");
    let output = run(&mut record(&(64 + 3 * cpus.get()).to_string(), &directory));
    let log = log(&output);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("executable_unopened"), "{log}");
    let stacks = std::fs::read_to_string(directory.path().join("busy.collapsed"));
    assert!(stacks.expect("it is written").contains("sh"), "{log}");
}
