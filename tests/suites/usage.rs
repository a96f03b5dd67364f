//! `record` as somebody meets it who does not know it yet.

use std::fs;
use std::process::{Command, Output};

use profiler_tests::agent::{self, log, until};
use profiler_tests::build::{c, text};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::Workload;
use tempfile::TempDir;

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn run(arguments: &[&str]) -> Output {
    agent::run(&mut agent::command(arguments))
}

#[test]
fn a_command_without_its_dashes_is_told_where_they_go() {
    let output = run(&["record", "sleep", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(log(&output).contains("record -- sleep"), "{}", log(&output));
    let output = run(&["record", "-o", "x.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        log(&output).contains("collapsed (.txt)"),
        "{}",
        log(&output)
    );
}

#[test]
fn a_profile_is_written_to_standard_output() {
    let workload = Workload::start(&mut Command::new(c("split")));
    let pid = workload.pid().to_string();
    let output = run(&["record", "-d", "1", "-p", &pid, "-o", "-"]);
    assert!(output.status.success(), "{}", log(&output));
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    fs::write(&file, &output.stdout).expect("the profile is saved");
    assert!(Profile::read(&file).count() > 20);
    let output = run(&["record", "-o", "-", "--", "true"]);
    assert_eq!(output.status.code(), Some(2), "{}", log(&output));
}

#[test]
fn an_empty_recording_takes_no_files_place() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    fs::write(&file, "what was recorded before").expect("a file");
    // It sleeps all the time.
    let mut sleep = Command::new("sleep").arg("60").spawn().expect("sleep runs");
    let asleep = format!("/proc/{}/stat", sleep.id());
    until("it sleeps", || {
        fs::read_to_string(&asleep).is_ok_and(|stat| stat.contains("(sleep) S"))
    });
    let output = run(&[
        "record",
        "-d",
        "1",
        "-p",
        &sleep.id().to_string(),
        "-o",
        text(&file),
    ]);
    sleep.kill().expect("it runs");
    sleep.wait().expect("it was started here");
    assert_eq!(output.status.code(), Some(1), "{}", log(&output));
    assert!(log(&output).contains("stays as it was"), "{}", log(&output));
    let kept = fs::read(&file).expect("the file is there");
    assert_eq!(kept, b"what was recorded before");
}
