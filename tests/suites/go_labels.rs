//! Labels of goroutines: every sample has those of the code that it hit, and of no other.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use profiler_tests::agent::{record_process, show};
use profiler_tests::build;
use profiler_tests::claim::{has_samples, holds_function};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS, full_matrix};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::workload::{Truth, Workload};

/// How far the share of a label may be from the CPU time that was spent under it.
const TOLERANCE: f64 = 0.02;
/// What is kept of a key and of a value, and how many of them.
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 256;
const MAX_LABELS: usize = 16;

/// A function of the workload and the labels that it runs under.
struct Burner {
    function: &'static str,
    labels: BTreeMap<String, String>,
}

fn burner(function: &'static str, labels: &[(&str, &str)]) -> Burner {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Burner {
        function,
        labels: labels.collect(),
    }
}

/// All but `burnMany`, whose labels are more than are read.
fn burners() -> Vec<Burner> {
    let (key, value) = ("k".repeat(MAX_KEY), "v".repeat(MAX_VALUE));
    let traced = [
        ("trace_id", "0123456789abcdef0123456789abcdef"),
        ("span_id", "0011223344556677"),
    ];
    let other = [
        ("trace_id", "fedcba9876543210fedcba9876543210"),
        ("span_id", "8899aabbccddeeff"),
    ];
    vec![
        burner("main.burnCart", &[("endpoint", "/cart")]),
        burner("main.burnSearch", &[("endpoint", "/search")]),
        burner("main.burnPlain", &[]),
        burner(
            "main.burnParse",
            &[("phase", "parse"), ("request", "changing")],
        ),
        burner(
            "main.burnRender",
            &[("phase", "render"), ("request", "changing")],
        ),
        burner(
            "main.burnInner",
            &[
                ("phase", "render"),
                ("request", "changing"),
                ("depth", "inner"),
            ],
        ),
        burner("main.burnLong", &[(&key, &value)]),
        burner("main.burnTraced", &traced),
        burner("main.burnOther", &other),
    ]
}

/// Is this label one of the workload's, and not one of the agent's own?
fn is_of_workload(key: &str) -> bool {
    [
        "endpoint", "phase", "request", "depth", "trace_id", "span_id",
    ]
    .contains(&key)
        || key.starts_with("key")
        || key.starts_with("kkk")
}

fn labels_of(sample: &Sample) -> BTreeMap<String, String> {
    let labels = sample.labels.iter();
    labels
        .filter(|(key, _)| is_of_workload(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn record(program: &Path) -> (Profile, Truth) {
    let workload = Workload::start(&mut Command::new(program));
    let recording = record_process(workload.pid(), 5.0);
    (recording.profile, workload.stop())
}

/// A program of any version of Go.
fn check(program: &Path) {
    let (profile, truth) = record(program);
    has_samples(&profile, 1000);
    let burners = burners();
    for Burner { function, labels } in &burners {
        let inside = profile
            .clone()
            .only(|sample| holds_function(sample, function));
        has_samples(&inside, 20);
        let wrong = inside.only(|sample| labels_of(sample) != *labels);
        assert!(
            wrong.samples.is_empty(),
            "{function}: {} samples without its labels, the first has {:?}\n{}",
            wrong.count(),
            labels_of(&wrong.samples[0]),
            show(&wrong, 12)
        );
        let share = truth.shares[*function];
        let measured = profile.share(|sample| labels_of(sample) == *labels);
        // What runs without labels is not only `burnPlain`.
        assert!(
            (measured - share).abs() <= TOLERANCE || labels.is_empty(),
            "{labels:?}: {:.2} % of {} samples, {:.2} % of the CPU time",
            measured * 100.0,
            profile.count(),
            share * 100.0
        );
    }
    let strays = profile.clone().only(|sample| {
        let labels = labels_of(sample);
        burners
            .iter()
            .any(|burner| holds_function(sample, burner.function) && burner.labels != labels)
    });
    assert_eq!(
        strays.count(),
        0,
        "labels of another:\n{}",
        show(&strays, 12)
    );
    check_many(&profile);
}

/// Of twenty labels sixteen are read, each as it is.
fn check_many(profile: &Profile) {
    let many = profile
        .clone()
        .only(|sample| holds_function(sample, "main.burnMany"));
    has_samples(&many, 100);
    for sample in &many.samples {
        let labels = labels_of(sample);
        assert_eq!(labels.len(), MAX_LABELS, "{labels:?}");
        for (key, value) in labels {
            let number = key.strip_prefix("key").expect("a key of this function");
            assert_eq!(value, format!("value{number}"), "{key}");
        }
    }
}

/// By default a version of each form: a map until Go 1.23, a slice from 1.24 on.
fn check_version(version: &'static str) {
    let by_default = ["1.23.9", VERSIONS[VERSIONS.len() - 1]];
    if full_matrix() || by_default.contains(&version) {
        check(&build::go_labels(&Toolchain::get(version)));
    }
}

#[test]
fn labels_in_a_map_of_go_1_21() {
    check_version("1.21.13");
}

#[test]
fn labels_in_a_map_of_go_1_22() {
    check_version("1.22.10");
}

#[test]
fn labels_in_a_map_of_go_1_23() {
    check_version("1.23.9");
}

#[test]
fn labels_in_a_slice_of_go_1_24() {
    check_version("1.24.11");
}

#[test]
fn labels_in_a_slice_of_the_newest_go() {
    check_version("1.27.3");
}
