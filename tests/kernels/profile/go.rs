//! Programs in Go.

use profiler_tests::claim::{has_chain_in, has_samples, holds, holds_function, passes};
use profiler_tests::go::labels::{self, labels_of};
use profiler_tests::kernels::Kernel;
use profiler_tests::pprof::Sample;

use super::check;

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

/// Goroutines, their system stacks, and stacks that grow.
pub fn stacks(kernel: Kernel) {
    check(kernel, "Go stacks", "go-stacks", |seen| {
        has_samples(&seen.profile, LEAST);
        holds(&seen.profile, "reaches a root", 0.995, |sample| {
            let first = sample.frames.first();
            first.is_some_and(|frame| ROOTS.contains(&frame.function.as_str()))
        });
        let with = |function: &str| {
            let profile = seen.profile.clone();
            profile.only(|sample| holds_function(sample, function))
        };
        let spinning = with("stacks/leaf.Spin");
        has_samples(&spinning, 50);
        let chain = ["main.chainA", "main.chainB", "main.chainC"];
        has_chain_in(&spinning, &chain, 0.99);
        // The runtime's own stack has the one that grows below it. Stacks grow for a moment: an emulated CPU is not always
        // sampled in one, and what is seen of it has to be right.
        let deep = with("main.deepen");
        if deep.count() > 0 {
            has_chain_in(&deep, &["main.grow.func1", "main.deepen"], 0.99);
        }
        let growing = deep.only(|sample| holds_function(sample, "runtime.copystack"));
        if growing.count() > 0 {
            holds(&growing, "is called by whom needs it", 1.0, |sample| {
                let order = ["runtime.goexit", "main.deepen", "runtime.newstack"];
                passes(sample, &order)
            });
        }
    });
}

/// Labels, and the trace and span of a request.
pub fn labels(kernel: Kernel) {
    check(kernel, "Go labels", "go-labels", |seen| {
        has_samples(&seen.profile, LEAST);
        for burner in labels::burners() {
            let profile = seen.profile.clone();
            let inside = profile.only(|sample| holds_function(sample, burner.function));
            // The one with the smallest share is seldom sampled; each label of it has to be right. An emulated CPU may be
            // sampled before the agent has told the kernel side of the program's runtime.
            has_samples(&inside, 2);
            let is_right = |sample: &Sample| labels_of(sample) == burner.labels;
            holds(&inside, burner.function, 0.9, is_right);
            holds(&inside, "has no other labels", 1.0, |sample| {
                is_right(sample) || labels_of(sample).is_empty()
            });
        }
    });
}
