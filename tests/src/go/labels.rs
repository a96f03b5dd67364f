//! What is true of the labels in `tests/workloads/go-labels`.

use std::collections::BTreeMap;

use crate::pprof::Sample;

/// What is kept of a key and of a value.
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 256;
/// How many labels of a sample are kept.
pub const MAX_LABELS: usize = 16;

/// A function of the workload and the labels that it runs under.
#[derive(Clone, Debug)]
pub struct Burner {
    /// Its name.
    pub function: &'static str,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
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
#[must_use]
pub fn burners() -> Vec<Burner> {
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

/// The workload's labels of a sample.
#[must_use]
pub fn labels_of(sample: &Sample) -> BTreeMap<String, String> {
    let labels = sample.labels.iter();
    labels
        .filter(|(key, _)| is_of_workload(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
