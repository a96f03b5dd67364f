//! Programs in Go.

use profiler_tests::claim::{has_chain_in, has_samples, holds, holds_function, passes};
use profiler_tests::go::labels::{self, labels_of};
use profiler_tests::kernels::Kernel;
use profiler_tests::pprof::Profile;

use super::{Seen, check};

/// Where stacks of Go start.
const ROOTS: [&str; 5] = [
    "runtime.goexit",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.mcall",
    "runtime.morestack",
];
/// Samples of a program at least: it shares its CPU with the agent.
const LEAST: i64 = 300;

/// Goroutines and their system stacks.
pub fn stacks(kernel: Kernel) {
    check(kernel, "Go stacks", "go-stacks", has_stacks);
}

/// What the stacks of the mixed work have to be.
pub fn has_stacks(seen: &Seen) {
    reaches_a_root(&seen.profile);
    let spinning = with(&seen.profile, "stacks/leaf.Spin");
    has_samples(&spinning, 50);
    let chain = ["main.chainA", "main.chainB", "main.chainC"];
    has_chain_in(&spinning, &chain, 0.99);
}

/// Stacks that grow: the runtime's own stack has the one that grows below it.
pub fn growing(kernel: Kernel) {
    check(kernel, "growing stacks of Go", "go-grow", |seen| {
        reaches_a_root(&seen.profile);
        let deep = with(&seen.profile, "main.deepen");
        has_samples(&deep, 50);
        has_chain_in(&deep, &["main.grow.func1", "main.deepen"], 0.99);
        let growing = deep.only(|sample| holds_function(sample, "runtime.copystack"));
        has_samples(&growing, 1);
        holds(&growing, "is called by whom needs it", 1.0, |sample| {
            let order = ["runtime.goexit", "main.deepen", "runtime.newstack"];
            passes(sample, &order)
        });
    });
}

fn reaches_a_root(profile: &Profile) {
    has_samples(profile, LEAST);
    // A thread that ends has no user stack any more.
    let alive = profile
        .clone()
        .only(|sample| !holds_function(sample, "do_exit"));
    holds(&alive, "reaches a root", 0.995, |sample| {
        let first = sample.frames.first();
        first.is_some_and(|frame| ROOTS.contains(&frame.function.as_str()))
    });
}

fn with(profile: &Profile, function: &str) -> Profile {
    let profile = profile.clone();
    profile.only(|sample| holds_function(sample, function))
}

/// Labels, and the trace and span of a request.
pub fn labels(kernel: Kernel) {
    check(kernel, "Go labels", "go-labels", has_labels);
}

/// What the labels of each function have to be.
pub fn has_labels(seen: &Seen) {
    has_samples(&seen.profile, LEAST);
    for burner in labels::burners() {
        let inside = with(&seen.profile, burner.function);
        // The one with the smallest share has few.
        has_samples(&inside, 5);
        holds(&inside, burner.function, 1.0, |sample| {
            labels_of(sample) == burner.labels
        });
    }
}
