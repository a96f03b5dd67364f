//! Inlined functions: chains and lines equal an independent symbolizer's, shares an inside view's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use profiler_tests::agent::{record_process, show};
use profiler_tests::build::{cpp, rust, text};
use profiler_tests::claim::{
    TOLERANCE, has_chain, has_samples, has_shares, holds, names_all, passes,
};
use profiler_tests::debug_info::functions_at;
use profiler_tests::pprof::{Frame, Profile};
use profiler_tests::workload::Workload;
use tempfile::TempDir;

/// The profile's functions at each address of a file, innermost first, as `addr2line` has them.
fn agrees_with_debug_info(profile: &Profile, file: &Path) -> usize {
    let mut locations: BTreeMap<u64, Vec<&Frame>> = BTreeMap::new();
    for sample in &profile.samples {
        // The frames of one location follow each other, those that are inlined after the first.
        for group in sample.frames.chunk_by(|_, next| next.inlined) {
            if profile.file(&group[0]) == text(&file) {
                let innermost_first = group.iter().rev().collect();
                locations.entry(group[0].address).or_insert(innermost_first);
            }
        }
    }
    let mut with_inlined = 0;
    for (address, frames) in &locations {
        let expected = functions_at(file, *address);
        if expected.first().is_none_or(|(name, _)| name == "??")
            || expected.iter().any(|(_, line)| *line == 0)
        {
            continue;
        }
        let mut found: Vec<(String, u32)> = frames
            .iter()
            .map(|frame| (own_name(&frame.function), frame.line))
            .collect();
        let expected: Vec<(String, u32)> = expected
            .iter()
            .map(|(name, line)| (own_name(name), *line))
            .collect();
        let symbol = expected.last().map(|(name, _)| name.clone());
        if expected.len() > 1
            && expected.len() == found.len()
            && Some(&expected[0].0) == symbol.as_ref()
        {
            // `addr2line` prefers the symbol that is nearest to the innermost function's own name.
            found[0].0.clone_from(&expected[0].0);
        }
        assert_eq!(found, expected, "at {address:#x} of {}", file.display());
        with_inlined += usize::from(expected.len() > 1);
    }
    with_inlined
}

/// A name's last part: symbolizers differ in how they write scopes, parameters and hashes.
fn own_name(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut depth = 0_u32;
    for c in name.chars() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            '(' if depth == 0 => break,
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let is_hash = |part: &str| {
        part.strip_prefix('h').is_some_and(|digits| {
            digits.len() == 16 && digits.chars().all(|digit| digit.is_ascii_hexdigit())
        })
    };
    let mut parts = plain.rsplit([':', ' ']).filter(|part| !part.is_empty());
    let last = parts.next().unwrap_or(&plain);
    let own = if is_hash(last) {
        parts.next().unwrap_or(last)
    } else {
        last
    };
    // Debug information numbers closures, symbols do not.
    if own.contains("closure") {
        "closure".to_owned()
    } else {
        own.to_owned()
    }
}

#[test]
fn names_are_compared_by_what_symbolizers_agree_on() {
    assert_eq!(
        own_name("unsigned int shapes::run_inlined<shapes::Square>(shapes::Square const&)"),
        "run_inlined"
    );
    assert_eq!(own_name("<a::B<T> as c::D>::add::h0123456789abcdef"), "add");
    assert_eq!(own_name("a::Collector<T>::add"), "add");
    assert_eq!(own_name("a::b::{closure#0}"), own_name("a::b::{{closure}}"));
    assert_eq!(own_name("main"), "main");
}

#[test]
fn inlined_methods_of_cpp_are_those_of_the_debug_information() {
    let library = cpp("middle", "libmiddle.so", &["-shared", "-fPIC", "-s"]);
    let directory = library.parent().expect("a directory");
    let path = format!("-Wl,-rpath,{}", directory.display());
    let program = cpp(
        "objects",
        "objects",
        &["-L", text(&directory), "-lmiddle", &path],
    );
    let workload = Workload::start(&mut Command::new(&program));
    let recording = record_process(workload.pid(), 2.0);
    workload.stop();
    let profile = recording.profile;
    has_samples(&profile, 800);
    let inlined = agrees_with_debug_info(&profile, &program);
    assert!(
        inlined >= 3,
        "{inlined} locations with inlined functions:\n{}",
        show(&profile, 12)
    );
}

#[test]
fn rust_agrees_with_the_debug_information_and_with_itself() {
    let directory = TempDir::new().expect("a temporary directory");
    let report = directory.path().join("inside");
    let program = rust();
    let workload = Workload::start(Command::new(&program).arg(&report));
    let recording = record_process(workload.pid(), 2.0);
    let truth = workload.stop();
    let profile = recording.profile;
    names_all(&profile, "release/workload");
    holds(&profile, "reaches the root", 0.995, |sample| {
        sample.functions().first() == Some(&"_start")
    });

    // Names carry their crate.
    let short = Profile {
        samples: profile.samples.clone(),
        ..profile.clone()
    };
    let mut short = short;
    for frame in short
        .samples
        .iter_mut()
        .flat_map(|sample| &mut sample.frames)
    {
        let name = frame
            .function
            .strip_prefix("workload::")
            .unwrap_or(&frame.function);
        frame.function = name.to_owned();
    }
    has_shares(&short, &truth);
    let working = short.clone().only(|sample| passes(sample, &["cycle"]));
    has_samples(&working, 800);
    for burner in ["burn_two_thirds", "burn_one_third"] {
        let alone = short.clone().only(|sample| passes(sample, &[burner]));
        has_chain(&alone, &["main", "cycle", burner]);
    }

    let inlined = agrees_with_debug_info(&profile, &program);
    assert!(
        inlined >= 2,
        "{inlined} locations with inlined functions:\n{}",
        show(&profile, 12)
    );

    // What the program saw of itself from the inside, by timer signals.
    let inside = fs::read_to_string(&report).expect("the view from the inside");
    let counts: BTreeMap<&str, f64> = inside
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, count)| (name, count.parse().expect("a count")))
        .collect();
    let all: f64 = counts.values().sum();
    assert!(all >= 500.0, "the view from the inside has {all} samples");
    for (name, count) in counts {
        let outside = working.share(|sample| passes(sample, &[name]));
        assert!(
            (outside - count / all).abs() <= 2.0 * TOLERANCE,
            "{name}: {outside:.3} from the outside, {:.3} from the inside",
            count / all
        );
    }
}
