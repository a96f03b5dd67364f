//! `profiler-agent doctor`, and the ways to walk stacks that it finds.

use std::process::Command;

use profiler_tests::agent::{command, executable, log, run};
use tempfile::TempDir;

/// Every way to walk stacks loads on the machine of the tests, and `doctor` says so to machines and to people.
#[test]
fn it_says_what_the_kernel_takes() {
    let output = run(&mut command(&["doctor", "--json"]));
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("it is one document");
    let programs = report["programs"].as_array().expect("a list");
    for walk in ["bpf_loop", "bounded"] {
        let sampling = programs.iter().find(|program| program["walk"] == walk);
        assert_eq!(
            sampling.map(|program| &program["loaded"]),
            Some(&true.into()),
            "{report}"
        );
    }
    let features = report["features"].as_array().expect("a list");
    assert!(
        features.iter().all(|feature| feature["state"] != "missing"),
        "{report}"
    );
    let output = run(&mut command(&["doctor"]));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("ok        stack walk: by the helper bpf_loop\n"),
        "{text}"
    );
}

#[test]
fn without_privileges_it_says_what_is_missing() {
    let output = Command::new("setpriv")
        .args(["--inh-caps=-all", "--bounding-set=-all"])
        .arg(executable())
        .arg("doctor")
        .output()
        .expect("setpriv runs");
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("missing   stack walk: "), "{text}");
    assert!(text.contains("CAP_BPF"), "{text}");
}

/// Both ways find whole stacks of the same program.
#[test]
fn a_way_to_walk_can_be_chosen() {
    let directory = TempDir::new().expect("a temporary directory");
    let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    for walk in ["bpf_loop", "bounded"] {
        let file = directory.path().join(format!("{walk}.collapsed"));
        let path = file.to_str().expect("the path is text");
        let arguments = [
            "record", "-F", "997", "--walk", walk, "-o", path, "--", "sh", "-c", work,
        ];
        let output = run(&mut command(&arguments));
        assert!(output.status.success(), "{}", log(&output));
        let text = std::fs::read_to_string(&file).expect("it was written");
        let whole = text.lines().filter(|line| line.contains("__libc_start"));
        assert!(2 * whole.count() > text.lines().count(), "{walk}: {text}");
    }
    let output = run(&mut command(&["record", "--walk", "tail_calls"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        log(&output).contains("neither bpf_loop nor bounded"),
        "{}",
        log(&output)
    );
}
