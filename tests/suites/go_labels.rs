//! Labels of goroutines: every sample has those of the code that it hit, and of no other.

use std::path::Path;
use std::process::Command;

use profiler_tests::agent::{record_process, show};
use profiler_tests::build;
use profiler_tests::claim::{has_samples, holds_function};
use profiler_tests::go::labels::{Burner, MAX_LABELS, burners, labels_of};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS, full_matrix};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::{Truth, Workload};

/// How far the share of a label may be from the CPU time that was spent under it.
const TOLERANCE: f64 = 0.02;
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
    let by_default = [VERSIONS[0], VERSIONS[VERSIONS.len() - 1]];
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
