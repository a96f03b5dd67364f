//! Limits that a host sets: the agent names the one that is too small, and does with less where it can.

use std::process::Command;

use profiler_tests::agent::{executable, log, run};
use profiler_tests::build::c;
use profiler_tests::claim::{C_ROOTS, has_chain, has_samples, reaches_root};
use profiler_tests::daemon::Daemon;
use profiler_tests::quota::MemoryQuota;
use profiler_tests::workload::Workload;
use tempfile::TempDir;

use crate::hostile::{last, stored, windows};

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

/// A machine that compiles all the time: large executables, new ones each moment, and somebody who looks at the page.
#[test]
fn with_64_mib_of_memory_it_lives_and_stacks_are_whole() {
    let quota = MemoryQuota::of(64 << 20);
    let daemon = Daemon::within(&quota, "");
    let directory = TempDir::new().expect("a temporary directory");
    let source = directory.path().join("many.c");
    let lines: String = (0..1000)
        .map(|n| {
            format!(
                "int f{n}(int a) {{ return a * {n} + (a >> {}); }}\n",
                n % 31
            )
        })
        .collect();
    std::fs::write(&source, lines).expect("there is room");
    let workload = Workload::start(&mut Command::new(c("split")));
    for round in 0..20 {
        let object = directory.path().join(format!("{round}.o"));
        let mut compiler = Command::new("gcc");
        let compiled = compiler
            .args(["-O2", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(object);
        assert!(compiled.status().expect("gcc is there").success());
        assert_eq!(daemon.page("/healthz").status, 200);
        let answer = daemon.page("/api/flamegraph").status;
        assert!([200, 503].contains(&answer), "{answer}");
    }
    let from = last(&daemon);
    windows(&daemon, 3);
    let split = stored(&daemon, from, "split");
    has_samples(&split, 300);
    reaches_root(&split, C_ROOTS);
    has_chain(&split, &["main", "run_cycle"]);
    workload.stop();
    daemon.stop();
}
