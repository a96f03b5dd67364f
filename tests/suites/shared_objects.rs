//! Stacks through shared libraries: stubs, lazy binding, libraries that come and go, stripped ones.

use std::process::Command;

use profiler_tests::agent::{record_process, record_while, works};
use profiler_tests::build::{c, c_library, c_with, cpp, text};
use profiler_tests::claim::{
    C_ROOTS, has_chain, has_chain_in, has_samples, holds, holds_function, is_in, is_named,
    names_all, passes, reaches_root,
};
use profiler_tests::pprof::Frame;
use profiler_tests::workload::Workload;
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

/// Functions of the compiler's crti.o and crtbegin.o.
const START_AND_END: &[&str] = &[
    "_init",
    "_fini",
    "__do_global_dtors_aux",
    "frame_dummy",
    "register_tm_clones",
    "deregister_tm_clones",
];

#[test]
fn a_procedure_linkage_table_is_walked_through() {
    let library = c_library("tiny", "tiny", &[]);
    let directory = library.parent().expect("a directory");
    let path = format!("-Wl,-rpath,{}", directory.display());
    let flags = [
        "-L",
        text(&directory),
        "-ltiny",
        &path,
        "-Wl,-z,lazy",
        "-fcf-protection=none",
    ];
    let workload = Workload::start(&mut Command::new(c_with(
        "linkage", "linkage", "gcc", &flags,
    )));
    let recording = record_process(workload.pid(), 2.0);
    workload.stop();
    let profile = recording.profile;
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    has_chain(&profile, &["main", "hammer_linkage"]);
    let called = profile
        .clone()
        .only(|sample| holds_function(sample, "tiny"));
    has_samples(&called, profile.count() / 20);
    has_chain(&called, &["main", "hammer_linkage", "tiny"]);
}

/// A program that loads and unloads two libraries in turns, mostly at the same addresses.
pub(crate) fn reloading() -> Workload {
    let lazy = ["-Wl,-z,lazy", "-lm"];
    let first = c_library(
        "plugin",
        "first",
        &[&["-DNAME=first_inside"], &lazy[..]].concat(),
    );
    let second = c_library(
        "plugin",
        "second",
        &[&["-DNAME=second_inside"], &lazy[..]].concat(),
    );
    let mut command = Command::new(c("reload"));
    Workload::start(command.args([&first, &second]))
}

/// Functions of its two halves: who loads a library, what is in it, and what is in the other one.
const HALVES: [(&str, &str, &str); 2] = [
    ("reload_first", "first_inside", "second_inside"),
    ("reload_second", "second_inside", "first_inside"),
];

/// The agent did not run, and the kernel had no room for what it had to tell: what was mapped then is not known.
#[test]
fn libraries_that_came_unseen_have_no_name_rather_than_another_s() {
    let workload = reloading();
    let recording = record_while(workload.pid(), |agent| {
        works(workload.pid(), 1.0);
        kill_process(agent, Signal::STOP).expect("the agent still runs");
        works(workload.pid(), 1.5);
        kill_process(agent, Signal::CONT).expect("the agent still runs");
        works(workload.pid(), 1.0);
    });
    workload.stop();
    let said = [
        "sideband_lost",
        "mapping_unknown",
        "it is not known what was mapped",
    ];
    for said in said {
        assert!(recording.log.contains(said), "{said}\n{}", recording.log);
    }
    has_samples(&recording.profile, 2_000);
    for (caller, inside, other) in HALVES {
        let alone = recording
            .profile
            .clone()
            .only(|sample| holds_function(sample, caller));
        holds(&alone, "is never inside the other library", 1.0, |sample| {
            !holds_function(sample, other)
        });
        let known = alone.only(|sample| holds_function(sample, inside));
        has_samples(&known, 300);
    }
}

#[test]
fn libraries_that_come_and_go_are_not_mistaken_for_each_other() {
    let workload = reloading();
    let recording = record_process(workload.pid(), 2.0);
    workload.stop();
    // What the compiler links into every object to start and end it has no call frame information.
    let profile = recording.profile.only(|sample| {
        !START_AND_END
            .iter()
            .any(|function| holds_function(sample, function))
    });
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    for (caller, inside, other) in HALVES {
        let alone = profile
            .clone()
            .only(|sample| holds_function(sample, caller));
        let burning = alone
            .clone()
            .only(|sample| holds_function(sample, "plugin_burn"));
        has_samples(&burning, 300);
        holds(&burning, "burns inside its own library", 0.995, |sample| {
            is_in(
                sample,
                &["main", caller, "call", "plugin_work", inside, "plugin_burn"],
            )
        });
        holds(&alone, "is never inside the other library", 1.0, |sample| {
            !holds_function(sample, other)
        });
    }
    // Each load binds its functions when they are first called.
    let binding = profile.only(|sample| {
        holds_function(sample, "plugin_work") && !holds_function(sample, "plugin_burn")
    });
    holds(
        &binding,
        "is whole below the binding of functions",
        0.98,
        |sample| passes(sample, &["main", "call", "plugin_work"]),
    );
}

/// More than the kernel side has in one level of chunks.
#[test]
fn a_crowd_of_libraries_is_walked_through() {
    const COUNT: usize = 1_500;
    let directory = TempDir::new().expect("a temporary directory");
    let library = c_library("tiny", "tiny", &[]);
    for number in 0..COUNT {
        let copy = directory.path().join(format!("{number}.so"));
        std::fs::copy(&library, copy).expect("there is room");
    }
    let mut command = Command::new(c("crowd"));
    command.arg(directory.path()).arg(COUNT.to_string());
    let workload = Workload::start(&mut command);
    let recording = record_process(workload.pid(), 2.0);
    workload.stop();
    let profile = recording.profile;
    has_samples(&profile, 1_800);
    reaches_root(&profile, C_ROOTS);
    let inside = profile.only(|sample| holds_function(sample, "crowd_compare"));
    has_samples(&inside, 1_500);
    holds(&inside, "is whole through the C library", 0.995, |sample| {
        passes(sample, &["main", "crowd_round", "crowd_compare"])
    });
    let called = inside.only(|sample| holds_function(sample, "tiny"));
    has_samples(&called, 20);
    has_chain(&called, &["crowd_compare", "tiny"]);
}

#[test]
fn a_stripped_library_and_exceptions_leave_stacks_whole() {
    let library = cpp("middle", "libmiddle.so", &["-shared", "-fPIC", "-s"]);
    let directory = library.parent().expect("a directory");
    let path = format!("-Wl,-rpath,{}", directory.display());
    let program = cpp(
        "objects",
        "objects",
        &["-L", text(&directory), "-lmiddle", &path],
    );
    let workload = Workload::start(&mut Command::new(program));
    let recording = record_process(workload.pid(), 2.0);
    workload.stop();
    let profile = recording.profile;
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    names_all(&profile, "objects");

    let called = profile
        .clone()
        .only(|sample| holds_function(sample, "shapes::called_back(void*)"));
    has_samples(&called, 200);
    holds(
        &called,
        "is whole through the stripped library",
        0.995,
        |sample| {
            passes(
                sample,
                &[
                    "main",
                    "shapes::run_through_library()",
                    "middle_entry",
                    "shapes::called_back(void*)",
                ],
            )
        },
    );
    holds(
        &called,
        "shows the place that has no name",
        0.995,
        |sample| {
            sample
                .frames
                .iter()
                .any(|frame| profile.file(frame).ends_with("libmiddle.so") && !is_named(frame))
        },
    );

    let unwinding = profile
        .clone()
        .only(|sample| holds_function(sample, "shapes::run_exceptions()"));
    has_samples(&unwinding, 200);
    // What `_Unwind_RaiseException` calls last writes the registers of the frame that it leads to over those that it has
    // saved: where it was called from is in no memory then.
    has_chain_in(&unwinding, &["main", "shapes::run_exceptions()"], 0.985);
    let others = unwinding.clone().only(|sample| {
        let raising = |frame: &Frame| frame.function == "_Unwind_RaiseException";
        !sample.frames.iter().rev().take(2).any(raising)
    });
    has_samples(&others, 200);
    has_chain(&others, &["main", "shapes::run_exceptions()"]);
    let throwing = unwinding.only(|sample| holds_function(sample, "shapes::thrower()"));
    has_chain(
        &throwing,
        &["main", "shapes::run_exceptions()", "shapes::thrower()"],
    );
}
