//! Programs in C, C++ and Rust.

use std::collections::BTreeSet;

use profiler_tests::claim::{
    C_ROOTS, has_chain, has_chain_in, has_samples, has_shares_in, holds, holds_function, is_in,
    is_named, passes, reaches_root,
};
use profiler_tests::kernels::Kernel;

use super::{Seen, check};

/// Samples of a program at least: it shares its CPU with the agent.
const LEAST: i64 = 300;
/// Samples of 120 short lives at least: 20 ms of CPU each.
const LEAST_OF_SHORT_LIVES: i64 = 300;
/// How far a share of so few samples may be from the truth.
const TOLERANCE: f64 = 0.06;

/// Three functions that split the CPU time.
pub fn split(seen: &Seen) {
    has_shares_in(&seen.profile, &seen.truth, LEAST, TOLERANCE);
    reaches_root(&seen.profile, C_ROOTS);
    has_chain(&seen.profile, &["main", "run_cycle"]);
    for share in ["half", "third", "fifth"] {
        let (caller, leaf) = (format!("share_{share}"), format!("burn_{share}"));
        let profile = seen.profile.clone();
        let alone = profile.only(|sample| holds_function(sample, &leaf));
        has_chain(&alone, &["main", "run_cycle", &caller, &leaf]);
    }
}

/// Calls without frame pointers; on arm64 with signed return addresses, as distributions build.
pub fn chain(kernel: Kernel) {
    check(kernel, "chain", "chain", split);
}

/// Calls with frame pointers.
pub fn chain_framed(kernel: Kernel) {
    check(kernel, "frame pointers", "chain-framed", split);
}

/// A static program of another C library.
pub fn chain_static(kernel: Kernel) {
    check(kernel, "static program", "chain-static", split);
}

/// Calls without signed return addresses.
pub fn chain_plain(kernel: Kernel) {
    check(kernel, "plain return addresses", "chain-plain", split);
}

/// The dynamic library of musl has no call frame information, and names only what it exports: as on Alpine.
pub fn musl(kernel: Kernel) {
    check(kernel, "library of musl", "musl-paths", |seen| {
        has_samples(&seen.profile, LEAST);
        let with = |function: &str| {
            let profile = seen.profile.clone();
            profile.only(|sample| holds_function(sample, function))
        };
        // The larger pages are, the less memory is unmapped again.
        for (part, least) in [("sort_them", 100), ("print_them", 100), ("take_memory", 20)] {
            let alone = with(part);
            has_samples(&alone, least);
            has_chain_in(&alone, &["main", "in_library", part], 0.98);
        }
        let back = with("compare");
        has_samples(&back, 50);
        has_chain(&back, &["main", "in_library", "sort_them"]);
        holds(&seen.profile, "main", 0.98, |sample| {
            holds_function(sample, "main")
        });
    });
}

/// A hundred levels of one function.
pub fn recursion(kernel: Kernel) {
    check(kernel, "recursion", "recursion", is_deep);
}

/// What the stacks of a hundred levels have to be.
pub fn is_deep(seen: &Seen) {
    has_samples(&seen.profile, LEAST);
    reaches_root(&seen.profile, C_ROOTS);
    holds(&seen.profile, "has every level", 0.995, |sample| {
        let functions = sample.functions();
        functions.iter().filter(|name| **name == "descend").count() == 100
    });
}

/// A signal handler above what it interrupts.
pub fn signal_handler(kernel: Kernel) {
    check(kernel, "signal handler", "handler", |seen| {
        has_shares_in(&seen.profile, &seen.truth, LEAST, TOLERANCE);
        reaches_root(&seen.profile, C_ROOTS);
        has_chain(&seen.profile, &["main", "interrupted_work"]);
        let profile = seen.profile.clone();
        let handling = profile.only(|sample| holds_function(sample, "handle_inner"));
        has_samples(&handling, 50);
        has_chain(&handling, &["on_timer", "handle_outer", "handle_inner"]);
        holds(&handling, "interrupts the work", 0.99, |sample| {
            passes(sample, &["main", "interrupted_work", "on_timer"])
        });
    });
}

/// Exceptions, and calls through a stripped library.
pub fn exceptions(kernel: Kernel) {
    check(kernel, "exceptions", "objects", |seen| {
        has_samples(&seen.profile, LEAST);
        reaches_root(&seen.profile, C_ROOTS);
        let with = |function: &str| {
            let profile = seen.profile.clone();
            profile.only(|sample| holds_function(sample, function))
        };
        let unwinding = with("shapes::run_exceptions()");
        has_samples(&unwinding, 50);
        // While libgcc for arm64 writes the registers of the frame that catches over those that it has saved, return
        // address included, where it was called from is in no memory.
        has_chain_in(&unwinding, &["main", "shapes::run_exceptions()"], 0.97);
        let called = with("shapes::called_back(void*)");
        has_samples(&called, 50);
        holds(&called, "is whole through the library", 0.99, |sample| {
            passes(
                sample,
                &["main", "shapes::run_through_library()", "middle_entry"],
            )
        });
    });
}

/// A Rust program in release, with inlined functions.
pub fn rust(kernel: Kernel) {
    check(kernel, "Rust", "rust", |seen| {
        let profile = seen.profile.clone();
        let burning = ["workload::burn_two_thirds", "workload::burn_one_third"];
        let burning =
            profile.only(|sample| burning.iter().any(|name| holds_function(sample, name)));
        has_samples(&burning, LEAST);
        has_chain_in(&burning, &["workload::main", "workload::cycle"], 0.99);
        reaches_root(&burning, C_ROOTS);
    });
}

/// Processes that live for 20 ms of CPU time.
pub fn short_lived(kernel: Kernel) {
    check(kernel, "short-lived processes", "brief", |seen| {
        has_samples(&seen.profile, LEAST_OF_SHORT_LIVES);
        // The loader and the C library have names for few of their functions.
        holds(&seen.profile, "is named", 0.9, |sample| {
            let mut own = sample.frames.iter();
            own.all(|frame| is_named(frame) || !seen.profile.file(frame).ends_with("/brief"))
        });
        holds(&seen.profile, "burns below its functions", 0.7, |sample| {
            is_in(sample, &["main", "brief_work", "brief_burn"])
        });
        let samples = &seen.profile.samples;
        let pids: BTreeSet<&str> = samples.iter().map(|sample| sample.label("pid")).collect();
        assert!(pids.len() >= 110, "{} processes of 120", pids.len());
    });
}
