//! Code that the kernel makes while it runs: its name is that of what was there then.

use std::process::Command;

use profiler_tests::agent::record_process;
use profiler_tests::build::c;
use profiler_tests::claim::{has_samples, holds, holds_function, is_named};
use profiler_tests::pprof::{Frame, Sample};
use profiler_tests::workload::Workload;

/// The programs of the workload.
const PROGRAMS: [&str; 5] = ["early", "alpha", "beta", "gamma", "delta"];

/// The name of the program that a frame is in, which its symbol has behind its tag; the frame's own where it has none.
fn program(frame: &Frame) -> Option<&str> {
    if !is_named(frame) {
        return Some(&frame.function);
    }
    let (tag, name) = frame.function.strip_prefix("bpf_prog_")?.split_once('_')?;
    let is_tag = tag.len() == 16 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
    // The agent's own are interrupted too.
    (is_tag && PROGRAMS.contains(&name)).then_some(name)
}

fn programs(sample: &Sample) -> Vec<&str> {
    sample.frames.iter().filter_map(program).collect()
}

/// A program that was there before, and others that come and go, one where another one was.
#[test]
fn programs_that_come_and_go_have_their_own_names() {
    let workload = Workload::start(&mut Command::new(c("bpf_programs")));
    let recording = record_process(workload.pid(), 4.0);
    workload.stop();
    for name in PROGRAMS {
        let runs = recording
            .profile
            .clone()
            .only(|sample| holds_function(sample, &format!("run_{name}")));
        // In the middle of an indirect call the kernel takes what is called for the caller.
        let steady = runs.only(|sample| {
            let mut frames = sample.frames.iter();
            !frames.any(|frame| frame.function.contains("indirect_thunk"))
        });
        let inside = steady.only(|sample| !programs(sample).is_empty());
        has_samples(&inside, 100);
        holds(&inside, &format!("is in {name}"), 1.0, |sample| {
            programs(sample) == [name]
        });
    }
}
