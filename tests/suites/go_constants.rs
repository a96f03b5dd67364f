//! Labels that are constants which the program itself never reads: their pages are not in memory, and the kernel side cannot
//! read them.

use std::process::Command;

use profiler_tests::agent::{record_process, show};
use profiler_tests::build;
use profiler_tests::claim::{has_samples, holds_function};
use profiler_tests::workload::Workload;

/// Every sample in `function` has the label.
fn check(command: &mut Command, function: &str, key: &str, value: &str) {
    let workload = Workload::start(command);
    let recording = record_process(workload.pid(), 3.0);
    workload.stop();
    let inside = recording
        .profile
        .only(|sample| holds_function(sample, function));
    has_samples(&inside, 200);
    let without = inside.only(|sample| {
        let mut labels = sample.labels.iter();
        !labels.any(|(found, text)| found == key && text == value)
    });
    assert!(
        without.samples.is_empty(),
        "{} samples without {key}={value}:\n{}",
        without.count(),
        show(&without, 12)
    );
}

#[test]
fn a_label_on_a_page_that_nobody_touched_is_in_every_sample() {
    let (program, _) = build::go_constants();
    let mut command = Command::new(program);
    check(
        &mut command,
        "main.burnLabelled",
        "route",
        "/route/number-1/",
    );
}

#[test]
fn labels_of_code_in_a_plugin_are_in_every_sample() {
    let (program, plugin) = build::go_constants();
    let mut command = Command::new(program);
    command.arg(plugin);
    let function = "constants/plugin.burnInPlugin";
    check(&mut command, function, "part", "of-a-plugin");
}
