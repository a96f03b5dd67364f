//! `profiler-agent record` as a person or a script meets it: arguments, exit codes, files, words.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use profiler_tests::agent::{self, cpu_seconds, executable, log, samples, until};
use profiler_tests::build::{c, text};
use profiler_tests::claim::{has_samples, holds, holds_function};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::Workload;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn run(arguments: &[&str]) -> Output {
    agent::run(&mut agent::command(arguments))
}

/// Runs and asks for an exit code and for words on standard error.
fn ends_with(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {log}");
    for word in words {
        assert!(
            log.contains(word),
            "{arguments:?} does not say `{word}`: {log}"
        );
    }
}

#[test]
fn a_commands_exit_status_is_passed_on() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    for code in [0, 1, 7] {
        let script = format!("exit {code}");
        ends_with(
            &["record", "-o", text(&file), "--", "sh", "-c", &script],
            code,
            &["samples"],
        );
        let _whole = Profile::read(&file);
    }
    // As a shell has it: 128 and the signal's number.
    ends_with(
        &[
            "record",
            "-o",
            text(&file),
            "--",
            "sh",
            "-c",
            "kill -KILL $$",
        ],
        137,
        &[],
    );
}

#[test]
fn scripts_get_one_json_object() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let output = run(&[
        "record",
        "--json",
        "-F",
        "499",
        "-o",
        text(&file),
        "--",
        "sh",
        "-c",
        "echo its own words; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done",
    ]);
    assert!(output.status.success(), "{}", log(&output));
    let printed = String::from_utf8(output.stdout.clone()).expect("JSON is UTF-8");
    let summary: serde_json::Value = serde_json::from_str(&printed).expect("one JSON document");
    // What the file itself holds.
    let profile = Profile::read(&file);
    let samples: i64 = profile.samples.iter().map(|sample| sample.values[0]).sum();
    assert_eq!(summary["samples"].as_i64(), Some(samples), "{printed}");
    assert!(
        samples > 0 && summary["processes"].as_u64() > Some(0),
        "{printed}"
    );
    assert_eq!(summary["file"].as_str(), Some(text(&file)), "{printed}");
    for share in ["complete_share", "named_share"] {
        let share = summary[share]
            .as_f64()
            .expect("there are stacks and frames");
        assert!((0.0..=1.0).contains(&share), "{printed}");
    }
    assert!(
        summary["losses"].is_object() && summary["incomplete"].is_array(),
        "{printed}"
    );
    assert!(summary["own_cpu_seconds"].as_f64() > Some(0.0), "{printed}");
    assert!(!log(&output).contains("samples of"), "{}", log(&output));
    assert!(log(&output).contains("its own words"), "{}", log(&output));
    ends_with(
        &["record", "--json", "-o", "-"],
        2,
        &["--json writes to standard output too"],
    );
}

#[test]
fn a_reader_of_standard_output_that_is_gone_is_an_error() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let workload = Workload::start(&mut Command::new(c("split")));
    let pid = workload.pid().to_string();
    for arguments in [&["--json", "-o", text(&file)][..], &["-o", "-"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = agent::command(&["record", "-d", "1", "-p", &pid]);
        command.args(arguments);
        let running = command.stdout(writer).stderr(Stdio::piped()).spawn();
        drop(command);
        let ended = running.expect("the agent starts").wait_with_output();
        let ended = ended.expect("the agent ends");
        assert_eq!(ended.status.code(), Some(1), "{}", log(&ended));
        assert!(log(&ended).contains("cannot write"), "{}", log(&ended));
    }
    assert!(file.exists(), "the recording is written all the same");
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let output = run(&["record", "-o", text(&file), "--", "no-such-program"]);
    assert!(log(&output).contains("no-such-program"), "{}", log(&output));
    assert!(!output.status.success());
}

#[test]
fn a_commands_children_are_recorded_unless_they_are_not_wanted() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let children = |extra: &[&str]| {
        let mut command = agent::command(&["record", "-F", "999", "-o", text(&file)]);
        command
            .args(extra)
            .arg("--")
            .arg(c("swarm"))
            .arg(c("brief"))
            .arg("20");
        let output = agent::run(&mut command);
        assert!(output.status.success(), "{}", log(&output));
        let profile = Profile::read(&file);
        profile
            .only(|sample| sample.label("comm") == "brief")
            .count()
    };
    // 20 times 20 ms.
    let with = children(&[]);
    assert!(with > 300, "{with} samples of the children");
    assert_eq!(children(&["--no-children"]), 0);
}

#[test]
fn an_interrupted_recording_is_written_whole() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let workload = Workload::start(&mut Command::new(c("split")));
    let pid = workload.pid().to_string();
    let mut command = agent::command(&[
        "record",
        "-F",
        "999",
        "-d",
        "600",
        "-p",
        &pid,
        "-o",
        text(&file),
    ]);
    let recording = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent starts");
    until("the agent samples", || samples(recording.id()));
    let before = cpu_seconds(workload.pid());
    until("the workload works", || {
        cpu_seconds(workload.pid()) > before + 1.0
    });
    kill_process(Pid::from_child(&recording), Signal::INT).expect("the agent runs");
    let output = recording.wait_with_output().expect("the agent ends");
    assert_eq!(output.status.code(), Some(0), "{}", log(&output));
    let profile = Profile::read(&file);
    has_samples(&profile, 700);
    holds(&profile, "is the workload's", 1.0, |sample| {
        sample.label("pid") == pid
    });
}

#[test]
fn pprof_says_what_it_holds() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let workload = Workload::start(&mut Command::new(c("split")));
    let pid = workload.pid().to_string();
    ends_with(
        &[
            "record",
            "-F",
            "200",
            "-d",
            "2",
            "-p",
            &pid,
            "-o",
            text(&file),
        ],
        0,
        &["samples", "root", "named"],
    );
    workload.stop();
    let profile = Profile::read(&file);
    assert_eq!(profile.sample_types, ["samples/count", "cpu/nanoseconds"]);
    assert_eq!(profile.period_type, "cpu nanoseconds");
    assert_eq!(profile.period, 1_000_000_000 / 200);
    has_samples(&profile, 100);
    for sample in &profile.samples {
        assert_eq!(sample.values[1], sample.values[0] * profile.period);
        assert_eq!(sample.label("pid"), pid);
        assert_eq!(sample.label("tid"), pid);
        assert_eq!(sample.label("comm"), "split");
        assert_eq!(sample.label("thread"), "split");
    }
    let mapping = profile
        .mappings
        .values()
        .find(|mapping| mapping.file.ends_with("/split"));
    let mapping = mapping.expect("the program is a mapping");
    let notes = Command::new("readelf")
        .arg("-n")
        .arg(c("split"))
        .output()
        .expect("binutils are installed");
    let notes = String::from_utf8_lossy(&notes.stdout);
    let build_id = notes
        .lines()
        .find_map(|line| line.trim().strip_prefix("Build ID: "));
    assert_eq!(Some(mapping.build_id.as_str()), build_id);
}

#[test]
fn the_files_name_or_the_option_gives_the_format() {
    let directory = directory();
    let workload = Workload::start(&mut Command::new(c("split")));
    let pid = workload.pid().to_string();
    let record = |name: &str, extra: &[&str]| {
        let file = directory.path().join(name);
        let mut arguments = vec![
            "record",
            "-F",
            "999",
            "-d",
            "1",
            "-p",
            &pid,
            "-o",
            text(&file),
        ];
        arguments.extend(extra);
        ends_with(&arguments, 0, &["samples"]);
        fs::read(&file).expect("the file is there")
    };
    check_collapsed(&record("a.txt", &[]));
    check_collapsed(&record("a.other", &["--format", "collapsed"]));
    check_flame_graph(&record("a.svg", &[]));
    check_flame_graph(&record("b.txt", &["--format", "svg"]));
    check_otlp(&record("a.otlp", &[]));
    check_otlp(&record("b.pb.gz", &["--format", "otlp"]));
    let pprof = record("a.pb.gz", &[]);
    std::io::copy(&mut GzDecoder::new(pprof.as_slice()), &mut std::io::sink())
        .expect("a gzip file");
    let _read = record("c.svg", &["--format", "pprof"]);
    let profile = Profile::read(&directory.path().join("c.svg"));
    holds(&profile, "is below main", 0.99, |sample| {
        holds_function(sample, "main")
    });
}

fn check_collapsed(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("collapsed stacks are text");
    let mut all = 0;
    let mut below_main = 0;
    for line in text.lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a stack and a count");
        let count: u64 = count.parse().expect("a count");
        all += count;
        if stack.contains(";main;run_cycle") {
            below_main += count;
        }
    }
    assert!(
        all > 500 && below_main * 100 >= all * 99,
        "{below_main} of {all}:\n{text}"
    );
}

fn check_flame_graph(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("SVG is text");
    assert!(
        text.contains("<svg") && text.trim_end().ends_with("</svg>"),
        "{text}"
    );
    assert!(
        text.contains("burn_half") && text.contains("run_cycle"),
        "{text}"
    );
}

fn check_otlp(bytes: &[u8]) {
    let request = ExportProfilesServiceRequest::decode(bytes).expect("an export request");
    let dictionary = request.dictionary.expect("a dictionary");
    for name in ["main", "run_cycle", "burn_half"] {
        assert!(
            dictionary.string_table.iter().any(|text| text == name),
            "{name}"
        );
    }
    let profiles = request
        .resource_profiles
        .iter()
        .flat_map(|resource| &resource.scope_profiles);
    let samples: usize = profiles
        .flat_map(|scope| &scope.profiles)
        .flat_map(|profile| &profile.samples)
        .map(|sample| sample.timestamps_unix_nano.len().max(1))
        .sum();
    assert!(samples > 500, "{samples} samples");
}

#[test]
fn wrong_usage_is_two() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let file = text(&file);
    for arguments in [
        &["record", "--no-such-option"][..],
        &["no-such-command"],
        &[],
        &["record", "-F", "0", "-o", file],
        &["record", "-F", "10001", "-o", file],
        &["record", "-d", "soon", "-o", file],
        &["record", "-d", "0", "-o", file],
        &["record", "-p", "me", "-o", file],
        &["record", "--format", "no-such-format", "-o", file],
        &["record", "-p", "1", "-o", file, "--", "true"],
    ] {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            log(&output)
        );
        assert!(!output.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn help_and_version_succeed() {
    for arguments in [&["--help"][..], &["record", "--help"], &["--version"]] {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            log(&output)
        );
        assert!(!output.stdout.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn without_privilege_it_says_what_to_do() {
    let directory = directory();
    // Where nobody may read and run it, whatever the permissions of the build's directory.
    let copy = directory.path().join("profiler-agent");
    fs::copy(executable(), &copy).expect("the agent can be copied");
    for (path, mode) in [(directory.path(), 0o777), (copy.as_path(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .expect("permissions can be set");
    }
    let file = directory.path().join("a.pb.gz");
    let nobody = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
    ];
    let mut command = Command::new("setpriv");
    command
        .args(nobody)
        .arg(&copy)
        .args(["record", "-d", "1", "-o", text(&file)]);
    let output = agent::run(&mut command);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(77), "{log}");
    assert!(
        log.contains("root") || log.contains("CAP_"),
        "no fix: {log}"
    );
    // And before it touches a store.
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(&copy).arg("agent");
    let output = agent::run(&mut command);
    let log = agent::log(&output);
    assert_eq!(output.status.code(), Some(77), "{log}");
    assert!(log.contains("CAP_"), "no fix: {log}");
}

#[test]
fn a_process_that_does_not_exist_is_named() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    // One more than the kernel's largest pid.
    ends_with(
        &["record", "-d", "60", "-p", "4194305", "-o", text(&file)],
        1,
        &["4194305"],
    );
    assert!(!file.exists());
}

#[test]
fn a_file_that_cannot_be_written_is_known_before_the_recording() {
    let directory = directory();
    let file = directory.path().join("missing/a.pb.gz");
    let start = std::time::Instant::now();
    ends_with(&["record", "-d", "60", "-o", text(&file)], 1, &["missing"]);
    assert!(start.elapsed().as_secs() < 30, "it recorded first");
}

#[test]
fn a_process_that_ends_ends_its_recording() {
    let directory = directory();
    let file = directory.path().join("a.pb.gz");
    let mut child = Command::new(c("brief"))
        .spawn()
        .expect("the program starts");
    let pid = child.id().to_string();
    // It may be gone before the agent looks; both ends are prompt and said.
    let start = std::time::Instant::now();
    let output = run(&["record", "-d", "60", "-p", &pid, "-o", text(&file)]);
    child.wait().expect("the program ends");
    assert!(
        start.elapsed().as_secs() < 30,
        "it waited for a process that is gone"
    );
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        log(&output)
    );
    assert_eq!(output.status.success(), Path::new(&file).exists());
}

#[test]
fn a_configuration_is_checked_whole_and_shown_without_secrets() {
    let directory = directory();
    let file = directory.path().join("agent.yaml");
    let check = |text_of_file: &str, more: &[&str]| {
        fs::write(&file, text_of_file).expect("a file");
        let mut command = agent::command(&["check", "--config", text(&file)]);
        command.args(more).env("TOKEN", "hunter2");
        agent::run(&mut command)
    };
    let wrong = check(
        "sampling:\n  frequencyy: 99\nexporters:\n  otlp_grpc: {endpoint: '', timeout: 1ms}\n",
        &[],
    );
    assert_eq!(wrong.status.code(), Some(2));
    let said = log(&wrong);
    for line in [
        "agent.yaml: line 2, column 3: sampling: there is no key `frequencyy`; did you mean `frequency`?",
        "exporters.otlp_grpc.endpoint: it is missing: write HOST:4317",
        "exporters.otlp_grpc.timeout: 100ms to 10m",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let right = "exporters:\n  otlp_grpc:\n    endpoint: collector:4317\n    headers: {authorization: '${env:TOKEN}'}\n";
    let checked = check(right, &[]);
    assert!(checked.status.success(), "{}", log(&checked));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("right; exporters: otlp_grpc"));
    let printed = check(right, &["--print"]);
    let shown = String::from_utf8_lossy(&printed.stdout);
    for line in [
        "frequency: 99",
        "authorization: \"****\"",
        "window: \"10s\"",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}
