//! `record --json`: what the last lines say, for scripts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::app::report::{Report, share};

/// The object that is printed. Its names are an interface (README, `record`): they stay.
#[derive(Serialize)]
struct Summary<'a> {
    samples: u64,
    processes: usize,
    duration_seconds: f64,
    /// Part of the stacks that were walked to their root, from 0 to 1; null without stacks.
    complete_share: Option<f64>,
    /// Part of the frames that have a name, from 0 to 1; null without frames.
    named_share: Option<f64>,
    /// What was lost, by cause; empty where nothing was.
    losses: BTreeMap<&'static str, u64>,
    own_cpu_seconds: f64,
    /// The file that was written; null where nothing was sampled and the file that was there stays.
    file: Option<String>,
    /// A sentence for each thing that is incomplete, with what helps.
    incomplete: &'a [String],
}

/// One line.
pub(super) fn json(report: &Report, file: Option<&Path>, incomplete: &[String]) -> String {
    let losses = report.losses.iter();
    let summary = Summary {
        samples: report.samples,
        processes: report.processes,
        duration_seconds: report.duration.as_secs_f64(),
        complete_share: share(report.complete),
        named_share: share(report.named),
        losses: losses.copied().collect(),
        own_cpu_seconds: report.own_cpu.as_secs_f64(),
        file: file.map(|file| file.to_string_lossy().into_owned()),
        incomplete,
    };
    serde_json::to_string(&summary).expect("texts as keys, and finite numbers")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_shape_is_the_documented_one() {
        let report = Report {
            samples: 10_241,
            processes: 3,
            duration: Duration::from_millis(2_500),
            complete: (3, 4),
            named: (0, 0),
            losses: vec![("ring_full", 17)],
            own_cpu: Duration::from_millis(20),
        };
        let advice = ["1 of 4 stacks \"is\" cut".to_owned()];
        let text = super::json(&report, Some(Path::new("a\n.pb.gz")), &advice);
        assert_eq!(text.lines().count(), 1);
        let read: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "samples": 10_241,
            "processes": 3,
            "duration_seconds": 2.5,
            "complete_share": 0.75,
            "named_share": null,
            "losses": {"ring_full": 17},
            "own_cpu_seconds": 0.02,
            "file": "a\n.pb.gz",
            "incomplete": ["1 of 4 stacks \"is\" cut"],
        });
        assert_eq!(read, expected);
    }
}
