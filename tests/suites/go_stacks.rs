//! Stacks of Go programs reach their root through every switch of stacks, and hold the calls that the program is
//! known to make; in one sample, whatever the program does.
//!
//! By default the newest version runs everything in programs with and without C, and something in those that are
//! stripped or position independent; the oldest runs everything that calls C.
//! `PROFILER_GO_MATRIX=full` (`cargo xtask test --full`) runs everything in every version.

use std::path::Path;
use std::process::Command;

use profiler_tests::agent::record_share;
use profiler_tests::claim::{
    WHOLE, has_chain_in, has_samples, holds, holds_function, is_in, passes,
};
use profiler_tests::go::program::{Variant, build_stacks};
use profiler_tests::go::toolchain::{Toolchain, VERSIONS, full_matrix};
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::workload::Workload;

/// Where stacks of Go start: a goroutine, a thread of the runtime's, and what a thread does when the
/// goroutine that led there is none of its business any more.
const ROOTS: [&str; 5] = [
    "runtime.goexit",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.mcall",
    "runtime.morestack",
];
/// Share of samples that reach a root.
const REACH: f64 = 0.999;
/// CPU time that is recorded of each mode, in seconds.
const SECONDS: f64 = 2.0;

const PLAIN: [&str; 11] = [
    "leaf", "moves", "hash", "garbage", "grow", "channels", "clock", "maps", "many", "allocate",
    "signals",
];
const FOREIGN: [&str; 3] = ["foreign", "callbacks", "moving"];
const RACE: [&str; 4] = ["writes", "maps", "channels", "grow"];
const SOME: [&str; 5] = ["leaf", "garbage", "grow", "channels", "clock"];

fn holds_some(profile: &Profile, what: &str, condition: impl Fn(&Sample) -> bool) {
    let share = profile.share(condition);
    assert!(share > 0.0, "no sample of {what}");
}

/// Samples with a function in them hold these above it, in this order.
fn under(profile: &Profile, function: &str, order: &[&str]) {
    let below = profile
        .clone()
        .only(|sample| holds_function(sample, function));
    has_samples(&below, 20);
    let what = format!("{} -> {function}", order.join(" -> "));
    holds(&below, &what, WHOLE, |sample| passes(sample, order));
}

/// What the program is known to do in a mode.
fn check(mode: &str, profile: &Profile) {
    match mode {
        "leaf" | "signals" => {
            let spinning = profile
                .clone()
                .only(|sample| holds_function(sample, "stacks/leaf.Spin"));
            has_samples(&spinning, 100);
            let chain = ["main.chainA", "main.chainB", "main.chainC"];
            has_chain_in(&spinning, &chain, WHOLE);
        }
        "moves" => {
            let moving = profile.clone().only(|sample| {
                let last = sample.frames.last();
                last.is_some_and(|frame| frame.function == "runtime.memmove")
            });
            has_samples(&moving, 100);
            let chain = ["main.chainA", "main.chainB", "main.chainC", "main.leafMove"];
            has_chain_in(&moving, &chain, WHOLE);
        }
        // The race detector's code is C's, and it is called on the scheduler's stack.
        "writes" => {
            let detecting = profile.clone().only(|sample| {
                let last = sample.frames.last();
                last.is_some_and(|frame| frame.function.starts_with("__tsan"))
            });
            has_samples(&detecting, 100);
            let chain = [
                "main.chainA",
                "main.chainB",
                "main.chainC",
                "main.leafWrite",
            ];
            // Hardly anything else is looked at.
            holds(&detecting, "under main.leafWrite", 0.9, |sample| {
                is_in(sample, &chain)
            });
            let order = ["runtime.goexit", "main.everyThread.func1", "racecall"];
            holds(&detecting, "called by the goroutine", WHOLE, |sample| {
                passes(sample, &order)
            });
        }
        "hash" => {
            // The assembly under the names of Go until 1.26 and from 1.27 on.
            let hashing = profile.clone().only(|sample| {
                ["aeshashbody", "internal/runtime/maps.memHashAES"]
                    .into_iter()
                    .any(|function| holds_function(sample, function))
            });
            has_samples(&hashing, 100);
            let chain = ["main.chainA", "main.chainB", "main.chainC", "main.leafHash"];
            has_chain_in(&hashing, &chain, WHOLE);
        }
        "garbage" => under(
            profile,
            "runtime.gcDrain",
            &[
                "runtime.goexit",
                "runtime.gcBgMarkWorker",
                "runtime.systemstack",
            ],
        ),
        "grow" => under(
            profile,
            "runtime.copystack",
            &["main.grow.func1", "main.deepen", "runtime.newstack"],
        ),
        "clock" => {
            let in_the_kernel_s = profile.clone().only(|sample| {
                let files = sample.frames.iter().map(|frame| profile.file(frame));
                files.into_iter().any(|file| file == "[vdso]")
            });
            has_samples(&in_the_kernel_s, 100);
            let order = ["runtime.goexit", "main.clock", "runtime.nanotime1"];
            holds(&in_the_kernel_s, "main.clock -> vDSO", WHOLE, |sample| {
                passes(sample, &order) || passes(sample, &["main.clock", "time.now"])
            });
        }
        "allocate" => under(
            profile,
            "runtime.(*mheap).alloc.func1",
            &["runtime.goexit", "runtime.systemstack"],
        ),
        "many" => under(
            profile,
            "main.chainB",
            &["runtime.goexit", "main.many.func1"],
        ),
        "channels" => {
            under(
                profile,
                "runtime.selectgo",
                &["runtime.goexit", "main.pong"],
            );
            holds_some(profile, "runtime.schedule", |sample| {
                passes(
                    sample,
                    &["runtime.mcall", "runtime.park_m", "runtime.schedule"],
                )
            });
        }
        "maps" => under(profile, "main.maps", &["runtime.goexit"]),
        "foreign" => under(
            profile,
            "burn_inner",
            &[
                "runtime.goexit",
                "main.foreignA",
                "main.foreignB",
                "runtime.cgocall",
                "runtime.asmcgocall",
                "burn_outer",
            ],
        ),
        "callbacks" => {
            let once = [
                "main.callB",
                "runtime.asmcgocall",
                "call_back",
                "main.calledBack",
            ];
            let mut order = vec!["runtime.goexit", "main.callA"];
            order.extend(once.repeat(3));
            order.push("main.chainB");
            under(profile, "stacks/leaf.Spin", &order);
            let burning = profile
                .clone()
                .only(|sample| holds_function(sample, "burn_inner"));
            has_samples(&burning, 100);
            holds(
                &burning,
                "every call of C was made by Go",
                WHOLE,
                |sample| {
                    let times = |wanted: &str| {
                        let functions = sample.functions();
                        functions.iter().filter(|name| **name == wanted).count()
                    };
                    holds_function(sample, "main.callA")
                        && times("call_back") == times("main.callB")
                },
            );
        }
        "moving" => under(
            profile,
            "main.deepen",
            &[
                "runtime.goexit",
                "main.movingA.func1",
                "runtime.asmcgocall",
                "call_back",
                "runtime.cgocallback",
                "main.calledBack",
            ],
        ),
        _ => panic!("nothing is known of {mode}"),
    }
}

fn runs(what: &str, program: &Path, modes: &[&str]) {
    for mode in modes {
        let workload = Workload::start(Command::new(program).arg(mode));
        // The first needs new memory all the time. How many samples there are is not what this is about.
        let least = if *mode == "allocate" { 0.7 } else { 0.85 };
        let profile = record_share(workload.pid(), SECONDS, least).profile;
        workload.stop();
        println!("{what}, {mode}: {} samples", profile.count());
        let root = format!("{what}, {mode}: reaches a root");
        holds(&profile, &root, REACH, |sample| {
            let first = sample.frames.first();
            first.is_some_and(|frame| ROOTS.contains(&frame.function.as_str()))
        });
        check(mode, &profile);
    }
}

fn version_is_walked(version: &'static str) {
    let full = full_matrix();
    let (oldest, newest) = (VERSIONS[0], VERSIONS[VERSIONS.len() - 1]);
    if !full && version != oldest && version != newest {
        return;
    }
    let toolchain = Toolchain::get(version);
    let go = |variant: Variant, modes: &[&str]| {
        let what = format!("Go {version}, {variant:?}");
        runs(&what, &build_stacks(&toolchain, variant), modes);
    };
    go(Variant::Cgo, &FOREIGN);
    if full || version == newest {
        go(Variant::Default, &PLAIN);
        go(Variant::Race, &RACE);
    }
    if full {
        for variant in [Variant::Cgo, Variant::Stripped, Variant::Pie] {
            go(variant, &SOME);
        }
    }
}

#[test]
fn go_1_21() {
    version_is_walked("1.21.13");
}

#[test]
fn go_1_22() {
    version_is_walked("1.22.10");
}

#[test]
fn go_1_23() {
    version_is_walked("1.23.9");
}

#[test]
fn go_1_24() {
    version_is_walked("1.24.11");
}

#[test]
fn go_1_25() {
    version_is_walked("1.25.5");
}

#[test]
fn go_1_26() {
    version_is_walked("1.26.6");
}

#[test]
fn go_1_27() {
    version_is_walked("1.27.3");
}
