//! Native programs without frame pointers: every stack whole, every frame named, shares right.

use std::path::Path;
use std::process::Command;

use profiler_tests::agent::{record, record_process, show};
use profiler_tests::build::{self, c, c_with};
use profiler_tests::claim::{
    C_ROOTS, WHOLE, has_chain, has_chain_in, has_samples, has_shares, holds, holds_function, is_in,
    is_named, names_all, passes, reaches_root,
};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::{Truth, Workload};

/// Runs a program, records two seconds of its CPU time and returns what the agent saw and what was true.
fn profile(program: &Path, arguments: &[&str]) -> (Profile, Truth) {
    let workload = Workload::start(Command::new(program).args(arguments));
    let recording = record_process(workload.pid(), 2.0);
    let pid = workload.pid().to_string();
    holds(
        &recording.profile,
        "is of the process asked for",
        1.0,
        |sample| sample.label("pid") == pid,
    );
    (recording.profile, workload.stop())
}

/// What holds for `split.c` however it is linked.
fn check_split(program: &Path) {
    let (profile, truth) = profile(program, &[]);
    has_shares(&profile, &truth);
    has_samples(&profile, 800);
    names_all(&profile, "split");
    // The clock is asked between the burners, from `run_cycle` itself.
    has_chain_in(&profile, &["main", "run_cycle"], WHOLE);
    for share in ["half", "third", "fifth"] {
        let (caller, leaf) = (format!("share_{share}"), format!("burn_{share}"));
        let alone = profile.clone().only(|sample| holds_function(sample, &leaf));
        has_chain(&alone, &["main", "run_cycle", &caller, &leaf]);
    }
    reaches_root(&profile, C_ROOTS);
}

#[test]
fn cpu_time_is_split_as_it_is_spent() {
    check_split(&c("split"));
}

#[test]
fn a_static_program_is_no_different() {
    check_split(&c_with("split", "static-split", "gcc", &["-static"]));
}

#[test]
fn a_static_position_independent_program_is_no_different() {
    check_split(&c_with(
        "split",
        "static-pie-split",
        "gcc",
        &["-static-pie"],
    ));
}

#[test]
fn a_program_of_another_c_library_is_no_different() {
    // Debian's musl has no call frame information of its own.
    check_split(&c_with("split", "musl-split", "musl-gcc", &["-static"]));
}

#[test]
fn stacks_are_whole_in_system_calls() {
    let (profile, _) = profile(&c("syscalls"), &[]);
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    has_chain(
        &profile,
        &["main", "outer_calls", "middle_calls", "leaf_calls"],
    );
    names_all(&profile, "syscalls");
    // The truth of this workload: the kernel fills the buffer.
    holds(&profile, "is in the kernel", 0.8, |sample| {
        sample
            .frames
            .last()
            .is_some_and(|leaf| profile.file(leaf).contains("kernel"))
    });
    names_all(&profile, "[kernel]");
}

fn check_recursion(depth: usize) {
    let (profile, _) = profile(&c("recursion"), &[&depth.to_string()]);
    has_samples(&profile, 400);
    reaches_root(&profile, C_ROOTS);
    has_chain(&profile, &["main", "begin_descent", "descend"]);
    holds(&profile, "has every level", 0.995, |sample| {
        let levels = sample
            .functions()
            .iter()
            .filter(|name| **name == "descend")
            .count();
        levels == depth
    });
}

#[test]
fn forty_levels_are_kept() {
    check_recursion(40);
}

#[test]
fn four_hundred_levels_are_kept() {
    check_recursion(400);
}

#[test]
fn nine_hundred_levels_are_kept() {
    check_recursion(900);
}

#[test]
fn what_is_too_deep_says_so() {
    let (profile, _) = profile(&c("recursion"), &["1500"]);
    has_samples(&profile, 400);
    holds(&profile, "starts with [truncated]", 0.995, |sample| {
        sample.functions().first() == Some(&"[truncated]")
    });
    holds(&profile, "keeps 1,000 levels", 0.995, |sample| {
        let levels = sample
            .functions()
            .iter()
            .filter(|name| **name == "descend")
            .count();
        (1000..=1024).contains(&levels)
    });
}

#[test]
fn callbacks_of_the_c_library_have_their_callers() {
    let (profile, _) = profile(&c("callback"), &[]);
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    names_all(&profile, "callback");
    let weighing = profile
        .clone()
        .only(|sample| holds_function(sample, "weigh"));
    assert!(
        weighing.count() * 10 > profile.count() * 7,
        "most is weighing:\n{}",
        show(&profile, 12)
    );
    holds(&weighing, "is called back by the sort", 0.995, |sample| {
        passes(sample, &["main", "sort_all", "compare_numbers", "weigh"])
            && is_in(sample, &["compare_numbers", "weigh"])
            && !is_in(sample, &["sort_all", "compare_numbers"])
    });
}

fn check_handler(arguments: &[&str]) {
    let (profile, truth) = profile(&c("handler"), arguments);
    has_shares(&profile, &truth);
    reaches_root(&profile, C_ROOTS);
    names_all(&profile, "handler");
    has_chain(&profile, &["main", "interrupted_work"]);
    let handling = profile.only(|sample| holds_function(sample, "handle_inner"));
    has_samples(&handling, 200);
    has_chain(&handling, &["on_timer", "handle_outer", "handle_inner"]);
    holds(&handling, "interrupts the work", 0.995, |sample| {
        passes(sample, &["main", "interrupted_work", "on_timer"])
    });
}

#[test]
fn a_signal_handler_has_what_it_interrupts_below_it() {
    check_handler(&[]);
}

#[test]
fn a_signal_handler_with_its_own_stack_has_what_it_interrupts_below_it() {
    check_handler(&["alternate"]);
}

#[test]
fn the_vdso_is_walked_through() {
    let (profile, _) = profile(&c("vdso"), &[]);
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    has_chain(&profile, &["main", "ask_clock"]);
    let inside = profile.clone().only(|sample| {
        sample
            .frames
            .iter()
            .any(|frame| profile.file(frame).contains("vdso"))
    });
    has_samples(&inside, profile.count() / 3);
    names_all(&inside, "[vdso]");
}

#[test]
fn threads_have_their_names_and_roots() {
    let workload = Workload::start(&mut Command::new(c("threads")));
    let recording = record_process(workload.pid(), 2.0);
    let truth = workload.stop();
    let profile = recording.profile;
    has_shares(&profile, &truth);
    reaches_root(&profile, C_ROOTS);
    for (thread, function) in [("alpha", "burn_twice"), ("beta", "burn_once")] {
        let alone = profile
            .clone()
            .only(|sample| holds_function(sample, function));
        has_samples(&alone, 300);
        has_chain(&alone, &["thread_main", function]);
        holds(&alone, "has its thread's name", 1.0, |sample| {
            sample.label("thread") == thread
        });
        holds(&alone, "has its process's name", 1.0, |sample| {
            sample.label("comm") == "threads"
        });
        holds(
            &alone,
            "is of another thread than the first",
            1.0,
            |sample| !sample.label("tid").is_empty() && sample.label("tid") != sample.label("pid"),
        );
    }
}

#[test]
fn a_process_is_seen_until_its_memory_is_freed() {
    let program = c("teardown");
    let recording = record(&["--", build::text(&program)]);
    let whole = recording
        .log
        .lines()
        .any(|line| line.contains("lost: nothing"));
    assert!(whole, "{}", recording.log);
    // `execve` frees the memory of the program before.
    let ending = recording
        .profile
        .only(|sample| holds_function(sample, "exit_mmap") && holds_function(sample, "do_exit"));
    has_samples(&ending, 10);
    // There is no user stack any more, and nothing is missing.
    holds(&ending, "is the kernel's alone", 1.0, |sample| {
        let frames = &mut sample.frames.iter();
        frames.all(|frame| ending.file(frame).contains("kernel"))
    });
    holds(&ending, "has its process's name", 1.0, |sample| {
        sample.label("comm") == "teardown"
    });
}

#[test]
fn an_interpreter_has_its_native_stack() {
    let script = profiler_tests::sources().join("python/burn.py");
    let (profile, _) = profile(Path::new("/usr/bin/python3"), &[build::text(&script)]);
    has_samples(&profile, 800);
    reaches_root(&profile, C_ROOTS);
    holds(
        &profile,
        "runs the evaluation loop from the entry",
        0.995,
        |sample| passes(sample, &["Py_BytesMain", "_PyEval_EvalFrameDefault"]),
    );
    holds(
        &profile,
        "names most leaves of a file with exported symbols alone",
        0.5,
        |sample| sample.frames.last().is_some_and(is_named),
    );
}

#[test]
fn a_go_program_has_its_functions() {
    let (profile, _) = profile(&build::go(), &[]);
    has_samples(&profile, 800);
    names_all(&profile, "go-split");
    let burning = profile.only(|sample| {
        holds_function(sample, "main.burnMost") || holds_function(sample, "main.burnRest")
    });
    has_samples(&burning, 800);
    has_chain_in(&burning, &["main.main", "main.cycle"], 0.995);
    reaches_root(&burning, &["runtime.goexit", "runtime.goexit.abi0"]);
}

/// `pthread_exit` in `main`: /proc has no memory of a main thread that ended, but of the threads that go on.
#[test]
fn a_process_whose_main_thread_has_ended_is_recorded() {
    let (profile, _) = profile(&c("headless"), &[]);
    has_samples(&profile, 800);
    has_chain_in(&profile, &["thread_main", "burn_alone"], WHOLE);
    reaches_root(&profile, C_ROOTS);
}

/// What lies behind a symbol without a size is not its code where functions have no symbols.
#[test]
fn a_symbol_without_a_size_names_nothing_behind_it() {
    let program = c_with("sizeless", "sizeless-stripped", "gcc", &["-rdynamic", "-s"]);
    let (profile, _) = profile(&program, &[]);
    has_samples(&profile, 800);
    holds(&profile, "is not named `tiny`", 1.0, |sample| {
        !holds_function(sample, "tiny")
    });
    let unnamed = "sizeless-stripped+0x";
    holds(&profile, "has frames named by its file", WHOLE, |sample| {
        sample
            .frames
            .iter()
            .filter(|frame| frame.function.starts_with(unnamed))
            .count()
            == 2
    });
    reaches_root(&profile, C_ROOTS);
    // With all symbols a symbol without a size reaches to the next one, and no further.
    let program = c_with("sizeless", "sizeless", "gcc", &[]);
    let (profile, _) = self::profile(&program, &[]);
    has_chain_in(&profile, &["main", "hidden_middle", "hidden_leaf"], WHOLE);
}
