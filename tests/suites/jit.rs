//! Code that is compiled at run time and named by a perf map.

use std::process::Command;

use profiler_tests::agent::{record_process, show};
use profiler_tests::claim::{has_samples, holds};
use profiler_tests::pprof::Sample;
use profiler_tests::sources;
use profiler_tests::workload::Workload;

fn runs(sample: &Sample, function: &str) -> Option<usize> {
    sample
        .frames
        .iter()
        .position(|frame| frame.function.contains(function))
}

#[test]
fn scripts_have_their_functions_between_native_ones() {
    let mut node = Command::new("node");
    node.args(["--perf-basic-prof", "--interpreted-frames-native-stack"])
        .arg(sources().join("js/burn.js"));
    let workload = Workload::start(&mut node);
    let pid = workload.pid();
    let recording = record_process(pid, 2.0);
    workload.stop();
    let _not_needed_any_more = std::fs::remove_file(format!("/tmp/perf-{pid}.map"));
    let profile = recording.profile;
    has_samples(&profile, 800);
    let burning = profile
        .clone()
        .only(|sample| runs(sample, "burnHeavy").is_some() || runs(sample, "burnLight").is_some());
    assert!(
        burning.count() * 10 > profile.count() * 9,
        "most burns:\n{}",
        show(&profile, 12)
    );
    holds(&burning, "is called by its script", 0.99, |sample| {
        let burner = runs(sample, "burnHeavy").or_else(|| runs(sample, "burnLight"));
        runs(sample, "outerScript").is_some_and(|outer| Some(outer) < burner)
    });
    holds(
        &burning,
        "goes on below the compiled code to the root",
        0.99,
        |sample| sample.functions().first() == Some(&"_start"),
    );
    let heavy = burning.share(|sample| runs(sample, "burnHeavy").is_some());
    // 450,000 rounds to 150,000, in loops that cost about the same.
    assert!((0.65..0.85).contains(&heavy), "burnHeavy has {heavy:.3}");
}
