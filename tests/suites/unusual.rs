//! Code that leaves the beaten track of call frame information: whole stacks, or stacks that say what they lack.

use std::path::Path;
use std::process::Command;

use profiler_tests::agent::record_process;
use profiler_tests::build::{c, c_with};
use profiler_tests::claim::{
    C_ROOTS, WHOLE, has_chain, has_chain_in, has_samples, holds, holds_function, reaches_root,
};
use profiler_tests::pprof::Profile;
use profiler_tests::workload::Workload;

/// Two seconds of a program's own CPU time, without that of its children.
fn profile(program: &Path, arguments: &[&str]) -> Profile {
    let workload = Workload::start(Command::new(program).args(arguments));
    let recording = record_process(workload.pid(), 2.0);
    let pid = workload.pid().to_string();
    workload.stop();
    recording.profile.only(|sample| sample.label("pid") == pid)
}

/// `vfork` of the C library keeps its return address in a register.
#[test]
fn a_parent_is_whole_in_vfork() {
    let profile = profile(&c("children"), &["vfork"]);
    has_samples(&profile, 400);
    has_chain_in(&profile, &["main", "run_children", "by_vfork"], 0.98);
    let inside = profile.only(|sample| {
        let mut names = sample.functions().into_iter();
        names.any(|name| name.contains("vfork") && name != "by_vfork")
    });
    has_samples(&inside, 100);
}

/// The C library's call frame information ends before the system call of `clone3`.
#[test]
fn a_parent_is_whole_in_posix_spawn() {
    let profile = profile(&c("children"), &["spawn"]);
    has_samples(&profile, 400);
    has_chain_in(&profile, &["main", "run_children", "by_spawn"], 0.98);
}

/// The frame pointer of code without call frame information means nothing: neither is zero a root, nor is what it points to
/// a frame.
#[test]
fn assembly_without_information_ends_no_stack_and_invents_no_frame() {
    let profile = profile(&c("plain_assembly"), &[]);
    has_samples(&profile, 800);
    for function in ["frameless_zero", "frameless_junk"] {
        let alone = profile
            .clone()
            .only(|sample| holds_function(sample, function));
        has_samples(&alone, 200);
        has_chain(&alone, &["main", "call_assembly", function]);
    }
    reaches_root(&profile, C_ROOTS);
}

/// Assembly that keeps the stack pointer in another register before it aligns the stack.
#[test]
fn assembly_that_aligns_its_stack_is_whole_and_so_is_what_it_calls() {
    let profile = profile(&c("aligned_assembly"), &[]);
    has_samples(&profile, 800);
    let compute = ["main", "call_aligned", "aligned", "back", "compute"];
    for (function, chain) in [("compute", &compute[..]), ("aligned", &compute[..3])] {
        let inside = profile
            .clone()
            .only(|sample| holds_function(sample, function));
        has_samples(&inside, 200);
        has_chain(&inside, chain);
    }
    reaches_root(&profile, C_ROOTS);
}

/// Memory of no file that a program put in the place of its own code, whole or in part, is that code.
#[test]
fn code_that_was_copied_to_other_memory_is_the_file_s() {
    for what in ["whole", "part"] {
        let profile = profile(&c("copied_text"), &[what]);
        has_samples(&profile, 400);
        has_chain_in(&profile, &["main", "top", "middle", "leaf"], 0.995);
        reaches_root(&profile, C_ROOTS);
    }
}

/// Another tool's probes have put the kernel's trampoline in the place of return addresses.
#[test]
fn return_probes_of_others_leave_stacks_whole() {
    let profile = profile(&c("return_probe"), &[]);
    has_samples(&profile, 400);
    let callers = ["main", "above", "[uretprobe]", "outer"];
    let callees = ["between", "[uretprobe]", "probed", "leaf"];
    // The rest is in traps, and in the kernel's page of copied instructions.
    let inside = profile
        .clone()
        .only(|sample| holds_function(sample, "leaf"));
    has_samples(&inside, 400);
    has_chain_in(&inside, &[callers, callees].concat(), 0.995);
    reaches_root(&profile, C_ROOTS);
}

/// The file's code spans more addresses than the file has bytes.
#[test]
fn code_that_is_linked_far_away_is_unwound_and_named() {
    let flags = ["-no-pie", "-Wl,--section-start=.far_text=0x8800000"];
    let profile = profile(&c_with("far", "far", "gcc", &flags), &[]);
    has_samples(&profile, 800);
    for (caller, function) in [("near_middle", "near_leaf"), ("far_middle", "far_leaf")] {
        let alone = profile
            .clone()
            .only(|sample| holds_function(sample, function));
        has_samples(&alone, 200);
        has_chain(&alone, &["main", "near_middle"]);
        has_chain(&alone, &[caller, function]);
    }
    reaches_root(&profile, C_ROOTS);
}

/// A signal trampoline was not called from the byte before it, which may be of another function.
#[test]
fn a_signal_trampoline_has_its_own_name() {
    let program = c_with("handler", "static-handler", "gcc", &["-static"]);
    let profile = profile(&program, &[]);
    let handling = profile.only(|sample| holds_function(sample, "handle_outer"));
    has_samples(&handling, 200);
    has_chain_in(
        &handling,
        &["__restore_rt", "on_timer", "handle_outer"],
        0.98,
    );
}

/// The dynamic C library of musl has no call frame information, and names only what it exports: as on Alpine.
#[test]
fn a_library_without_information_and_symbols_is_passed() {
    let profile = profile(&c_with("musl_paths", "musl-paths", "musl-gcc", &[]), &[]);
    has_samples(&profile, 800);
    for part in ["sort_them", "print_them", "take_memory"] {
        let alone = profile.clone().only(|sample| holds_function(sample, part));
        has_samples(&alone, 100);
        has_chain_in(&alone, &["main", "in_library", part], 0.98);
    }
    let back = profile
        .clone()
        .only(|sample| holds_function(sample, "compare"));
    has_samples(&back, 100);
    has_chain(&back, &["main", "in_library", "sort_them"]);
    holds(&profile, "main", 0.98, |sample| {
        holds_function(sample, "main")
    });
}

/// A context was not called by anybody: its stack ends in the code that its function returns to.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_stack_of_a_context_ends_where_it_begins() {
    let profile = profile(&c("contexts"), &[]);
    has_samples(&profile, 800);
    let alone = |function| {
        profile
            .clone()
            .only(|sample| holds_function(sample, function))
    };
    let program = alone("burn_main");
    has_samples(&program, 300);
    has_chain(&program, &["main", "burn_main"]);
    reaches_root(&program, C_ROOTS);
    let context = alone("burn_context");
    has_samples(&context, 300);
    holds(&context, "is a context", WHOLE, |sample| {
        let functions = sample.functions();
        let [root, rest @ ..] = functions.as_slice() else {
            return false;
        };
        // No symbol of a stripped library names it.
        let begins = root.starts_with("libc.so.6") || *root == "__start_context";
        begins && rest.starts_with(&["enter_context", "in_context", "burn_context"])
    });
}

/// The frame of a function in assembly is found by a register that its callee leaves alone.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_frame_on_a_register_of_the_one_beneath_is_passed() {
    let profile = profile(&c("other_registers"), &[]);
    has_samples(&profile, 800);
    has_chain(&profile, &["main", "call_assembly", "on_rax"]);
    reaches_root(&profile, C_ROOTS);
}
