//! What the suites claim of a profile; a failed claim shows the stacks that are against it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::agent::show;
use crate::debug_info::symbols_of;
use crate::pprof::{Frame, Profile, Sample};
use crate::workload::Truth;

/// Share of samples that must be whole.
pub const WHOLE: f64 = 0.995;
/// How far a measured share may be from the truth.
pub const TOLERANCE: f64 = 0.03;

/// Where stacks of the C library start: a program's entry, the loader's entry, a thread's entry.
pub const C_ROOTS: &[&str] = &[
    "_start",
    "__clone3",
    "clone3",
    "__clone",
    "clone",
    "_dl_start_user",
];

/// At least `least` samples were taken.
///
/// # Panics
///
/// When the claim does not hold; so do all of this module.
pub fn has_samples(profile: &Profile, least: i64) {
    let count = profile.count();
    assert!(count >= least, "{count} samples, {least} were expected");
}

/// At least `least` (0 to 1) of the samples are as described.
pub fn holds(profile: &Profile, what: &str, least: f64, condition: impl Fn(&Sample) -> bool) {
    let share = profile.share(&condition);
    let against = profile.clone().only(|sample| !condition(sample));
    assert!(
        share >= least && profile.count() > 0,
        "{what}: {:.2} % of {} samples, at least {:.2} % were expected; against it:\n{}",
        share * 100.0,
        profile.count(),
        least * 100.0,
        show(&against, 12)
    );
}

/// The stacks start at one of these functions.
pub fn reaches_root(profile: &Profile, roots: &[&str]) {
    holds(profile, "reaches the root", WHOLE, |sample| {
        sample
            .frames
            .first()
            .is_some_and(|frame| roots.contains(&frame.function.as_str()))
    });
}

/// The stacks hold these functions one directly under the other.
pub fn has_chain(profile: &Profile, chain: &[&str]) {
    has_chain_in(profile, chain, WHOLE);
}

/// At least `least` of the stacks hold these functions one directly under the other.
pub fn has_chain_in(profile: &Profile, chain: &[&str], least: f64) {
    holds(profile, &chain.join(" -> "), least, |sample| {
        is_in(sample, chain)
    });
}

/// Does the stack hold these functions one directly under the other?
#[must_use]
pub fn is_in(sample: &Sample, chain: &[&str]) -> bool {
    sample
        .functions()
        .windows(chain.len())
        .any(|window| window == chain)
}

/// Does the stack hold these functions in this order, others between them?
#[must_use]
pub fn passes(sample: &Sample, order: &[&str]) -> bool {
    let mut wanted = order.iter();
    let mut next = wanted.next();
    for function in sample.functions() {
        if next == Some(&function) {
            next = wanted.next();
        }
    }
    next.is_none()
}

/// Does the stack hold a function?
#[must_use]
pub fn holds_function(sample: &Sample, function: &str) -> bool {
    sample.frames.iter().any(|frame| frame.function == function)
}

/// The shares of CPU time are those that the workload counted itself.
pub fn has_shares(profile: &Profile, truth: &Truth) {
    has_shares_in(profile, truth, 1000, TOLERANCE);
}

/// The same in at least so many samples, whose shares may differ so far from the truth.
pub fn has_shares_in(profile: &Profile, truth: &Truth, least: i64, tolerance: f64) {
    assert!(!truth.shares.is_empty(), "the workload counted nothing");
    has_samples(profile, least);
    for (function, share) in &truth.shares {
        let measured = profile.share(|sample| holds_function(sample, function));
        assert!(
            (measured - share).abs() <= tolerance,
            "{function}: {:.1} % of {} samples, {:.1} % of the CPU time\n{}",
            measured * 100.0,
            profile.count(),
            share * 100.0,
            show(profile, 12)
        );
    }
}

/// Every frame of files whose path ends so has a name, if its address is inside a symbol.
pub fn names_all(profile: &Profile, file_ends: &str) {
    let mut files: BTreeMap<&str, Vec<Range<u64>>> = BTreeMap::new();
    let mut seen = 0;
    for sample in &profile.samples {
        for frame in &sample.frames {
            let file = profile.file(frame);
            if !file.ends_with(file_ends) {
                continue;
            }
            seen += 1;
            // Stubs and padding belong to no symbol.
            let covered = !Path::new(file).is_file() || {
                let symbols = files
                    .entry(file)
                    .or_insert_with(|| symbols_of(Path::new(file)));
                symbols.iter().any(|symbol| symbol.contains(&frame.address))
            };
            assert!(
                is_named(frame) || !covered,
                "no name: {frame:?} in {}",
                show(profile, 12)
            );
        }
    }
    assert!(seen > 0, "no frame of {file_ends}:\n{}", show(profile, 12));
}

/// A name, not `file+0x1a2b`.
#[must_use]
pub fn is_named(frame: &Frame) -> bool {
    !frame.function.is_empty() && !frame.function.contains("+0x")
}

/// Every window of the store came to a receiver, with as many samples.
pub fn arrived_whole(stored: &BTreeMap<u64, u64>, received: &BTreeMap<u64, u64>) {
    for (start, samples) in stored.iter().filter(|(_, samples)| **samples > 0) {
        assert_eq!(
            received.get(start),
            Some(samples),
            "the window of {start}: {stored:?} {received:?}"
        );
    }
}
