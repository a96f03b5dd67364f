//! What commands print, to whom, and what they read: without any privilege.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_profiler-agent"));
    command.args(arguments);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn write(directory: &Path, name: &str, content: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, content).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let config = write(directory.path(), "agent.yaml", "sampling: {}\n");
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["help", "record"],
        &["view", "--help"],
        &["check", "--config", &config],
        &["check", "--config", &config, "--print"],
        &["doctor", "--json"],
    ] {
        let full = || {
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap()
        };
        for (output, why) in [(closed(), "Broken pipe"), (full().into(), "No space")] {
            let mut command = agent(arguments);
            let ended = command
                .stdout(output)
                .stderr(Stdio::piped())
                .output()
                .unwrap();
            let said = said(&ended);
            assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
            let expected = "profiler-agent: cannot write to standard output: ";
            assert!(
                said.contains(expected) && said.contains(why),
                "{arguments:?}: {said}"
            );
        }
    }
}

#[test]
fn a_standard_error_that_is_gone_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = write(directory.path(), "agent.yaml", "samplin: {}\n");
    for (arguments, code) in [
        (&["view", "/no/such/file"][..], 1),
        (&["check", "--config", &config], 2),
        (&["record", "--no-such-option"], 2),
        (&["record", "sleep", "1"], 2),
    ] {
        let ended = agent(arguments)
            .stderr(closed())
            .stdout(Stdio::null())
            .status();
        assert_eq!(ended.unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn no_name_commands_the_terminal() {
    const HOSTILE: &str = "\u{1b}]0;title\u{7}\u{202e}\u{9b}31m";
    let directory = tempfile::tempdir().unwrap();
    let plain = |output: &Output| {
        for bytes in [&output.stdout, &output.stderr] {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            let hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!text.contains(hidden), "{text:?}");
        }
        let all = [output.stdout.clone(), output.stderr.clone()].concat();
        let all = String::from_utf8(all).expect("UTF-8");
        assert!(all.contains("\\u001b") && all.contains("\\u202e"), "{all}");
    };
    // Names of files.
    let text = write(directory.path(), &format!("{HOSTILE}\nx"), "no profile\n");
    let output = agent(&["view", &text]).output().unwrap();
    assert_eq!(
        (output.status.code(), said(&output).lines().count()),
        (Some(1), 1)
    );
    plain(&output);
    let config = write(directory.path(), HOSTILE, "exporters: {}\n");
    let output = agent(&["check", "--config", &config]).output().unwrap();
    assert!(output.status.success());
    plain(&output);
    plain(
        &agent(&["record", &format!("--{HOSTILE}")])
            .output()
            .unwrap(),
    );
    // Names in files.
    let keys = "\"\\e]0;title\\a\\u202E\\x9b31m\": 1\nsamplin: {}\n";
    let config = write(directory.path(), "agent.yaml", keys);
    let output = agent(&["check", "--config", &config]).output().unwrap();
    assert_eq!(
        (output.status.code(), said(&output).lines().count()),
        (Some(2), 2)
    );
    plain(&output);
}

#[test]
fn a_device_is_no_profile() {
    for device in ["/dev/zero", "/dev/null"] {
        let output = agent(&["view", device]).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(device) && said.contains("name a file, or give a pipe"),
            "{said}"
        );
    }
}

/// What `view` says until it shows its page, of a profile that comes through a pipe.
fn viewed(path: &str, profile: &str) -> Vec<String> {
    let mut viewer = agent(&["view", path])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent starts");
    let mut input = viewer.stdin.take().expect("a pipe");
    input
        .write_all(profile.as_bytes())
        .expect("the agent reads");
    drop(input);
    let mut said = Vec::new();
    for line in BufReader::new(viewer.stderr.take().expect("a pipe")).lines() {
        said.push(line.expect("UTF-8"));
        if said[said.len() - 1].contains("the page is on http://") {
            break;
        }
    }
    viewer.kill().expect("the agent runs");
    viewer.wait().expect("the agent ends");
    said
}

#[test]
fn a_profile_comes_through_a_pipe() {
    for path in ["-", "/dev/stdin"] {
        let said = viewed(path, "server;main;run 12\n");
        assert!(said[said.len() - 1].contains("the page is on"), "{said:?}");
    }
}

#[test]
fn no_name_in_a_profile_commands_the_terminal() {
    let sample = |event: &str| format!("a 1 1.5: 7 {event}:\n\t1f b (/c)\n\n");
    let said = viewed("-", &(sample("x\u{1b}[31m") + &sample("other")));
    let note = "-: samples of `x\\u001b[31m` are shown, 1 of other events are not";
    assert!(said.iter().any(|line| line == note), "{said:?}");
}
