//! Stacks are whole from the first sample on, before the unwind tables of what runs are there.

use std::process::Command;

use profiler_tests::agent::record;
use profiler_tests::build::{self, c};
use profiler_tests::claim::{has_samples, holds};
use profiler_tests::workload::Workload;

/// Where stacks of these programs start.
const ROOTS: &[&str] = &["_start", "runtime.goexit", "runtime.goexit.abi0"];

/// Programs that run already when the first second of the whole machine is recorded: their tables are built while they
/// are sampled.
#[test]
fn what_runs_already_has_whole_stacks_in_the_first_second() {
    // All are built before the first runs.
    let mut recursion = Command::new(c("recursion"));
    recursion.arg("40");
    let others = [c("split"), build::rust(), build::go()].map(Command::new);
    let mut commands = Vec::from([recursion]);
    commands.extend(others);
    let programs: Vec<Workload> = commands.iter_mut().map(Workload::start).collect();
    let recording = record(&["-d", "1"]);
    for program in programs {
        let pid = program.pid().to_string();
        program.stop();
        let its = recording
            .profile
            .clone()
            .only(|sample| sample.label("pid") == pid);
        has_samples(&its, 30);
        holds(&its, "reaches the root", 0.98, |sample| {
            sample
                .frames
                .first()
                .is_some_and(|frame| ROOTS.contains(&frame.function.as_str()))
        });
    }
}
