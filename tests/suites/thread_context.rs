//! Threads that publish the trace and span that they work for (OTEP 4947): every sample inside a span is
//! linked to it and to no other, wherever the published variable lies.

use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::agent::{record_process, show};
use profiler_tests::build::{self, c_library, c_with, text};
use profiler_tests::claim::{has_samples, holds_function};
use profiler_tests::pprof::Sample;
use profiler_tests::workload::Workload;

/// Share of the samples inside spans that are linked.
const LINKED: f64 = 0.99;
const SPANS: u8 = 4;

/// The trace and the span of a sample; empty without.
fn link(sample: &Sample) -> (&str, &str) {
    (sample.label("trace_id"), sample.label("span_id"))
}

/// Span K of trace K burns in `burn_K`; `burn_outside` belongs to none.
fn check(command: &mut Command) {
    let workload = Workload::start(command);
    let recording = record_process(workload.pid(), 3.0);
    workload.stop();
    let profile = recording.profile;
    let mut inside = 0;
    let mut linked = 0;
    for number in 1..=SPANS {
        let function = format!("burn_{number}");
        let own = profile
            .clone()
            .only(|sample| holds_function(sample, &function));
        has_samples(&own, 300);
        let byte = format!("{number:02x}");
        let expected = (byte.repeat(16), byte.repeat(8));
        inside += own.count();
        let with_link = own.only(|sample| link(sample) != ("", ""));
        linked += with_link.count();
        let wrong = with_link.only(|sample| link(sample) != (&expected.0, &expected.1));
        assert!(
            wrong.samples.is_empty(),
            "{function}: {} samples are linked to another span, like {:?}\n{}",
            wrong.count(),
            link(&wrong.samples[0]),
            show(&wrong, 12)
        );
    }
    let share = linked as f64 / inside as f64;
    println!("{linked} of {inside} samples inside spans are linked");
    assert!(
        share >= LINKED,
        "{:.2} % of {inside} samples inside spans are linked\n{}\n{}",
        share * 100.0,
        show(&profile, 12),
        recording.log
    );
    let outside = profile.only(|sample| holds_function(sample, "burn_outside"));
    has_samples(&outside, 300);
    let strays = outside.only(|sample| link(sample) != ("", ""));
    assert_eq!(
        strays.count(),
        0,
        "outside of spans:\n{}",
        show(&strays, 12)
    );
}

fn program(variant: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let mut all = vec!["-pthread"];
    all.extend(flags);
    c_with("thread_context", variant, compiler, &all)
}

fn library(variant: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    if compiler == "gcc" {
        return c_library("thread_context_library", variant, flags);
    }
    let mut all = vec!["-shared", "-fPIC"];
    all.extend(flags);
    let result = format!("lib{variant}.so");
    c_with("thread_context_library", &result, compiler, &all)
}

/// A program that is linked with the library.
fn linked_with(variant: &str, library: &Path) -> PathBuf {
    let directory = library.parent().expect("the library is in a directory");
    let search = format!("-Wl,-rpath,{}", text(&directory));
    program(variant, "gcc", &["-DLINKED", text(&library), &search])
}

#[test]
fn in_the_program() {
    let program = program(
        "context-program",
        "gcc",
        &["-Wl,--export-dynamic-symbol=otel_thread_ctx_v1"],
    );
    check(&mut Command::new(program));
}

#[test]
fn in_a_program_at_a_fixed_address() {
    let program = program("context-fixed", "gcc", &["-no-pie", "-rdynamic"]);
    check(&mut Command::new(program));
}

#[test]
fn in_a_static_program_of_musl() {
    check(&mut Command::new(program(
        "context-musl",
        "musl-gcc",
        &["-static"],
    )));
}

#[test]
fn in_a_library_by_initial_exec() {
    let library = library("context-initial", "gcc", &["-ftls-model=initial-exec"]);
    check(&mut Command::new(linked_with("context-linked", &library)));
}

#[test]
fn in_a_library_that_is_there_at_the_start_by_a_call() {
    let library = library("context-start-call", "gcc", &["-mtls-dialect=gnu"]);
    check(&mut Command::new(linked_with(
        "context-linked-call",
        &library,
    )));
}

#[test]
fn in_a_library_that_is_there_at_the_start_by_a_descriptor() {
    let library = library("context-start", "gcc", &["-mtls-dialect=gnu2"]);
    check(&mut Command::new(linked_with(
        "context-linked-start",
        &library,
    )));
}

#[test]
fn in_a_loaded_library_by_a_call() {
    let library = library("context-call", "gcc", &["-mtls-dialect=gnu"]);
    let program = program("context-loaded", "gcc", &["-DLOADED"]);
    check(Command::new(program).arg(library));
}

#[test]
fn in_a_loaded_library_by_a_descriptor() {
    let library = library("context-descriptor", "gcc", &["-mtls-dialect=gnu2"]);
    let program = program("context-loaded", "gcc", &["-DLOADED"]);
    check(Command::new(program).arg(library));
}

#[test]
fn in_a_loaded_library_by_a_call_for_its_own_block() {
    let library = library(
        "context-symbolic",
        "gcc",
        &["-mtls-dialect=gnu", "-ftls-model=local-dynamic"],
    );
    let program = program("context-loaded", "gcc", &["-DLOADED"]);
    check(Command::new(program).arg(library));
}

#[test]
fn in_a_loaded_library_of_musl() {
    let library = library("context-musl-call", "musl-gcc", &["-mtls-dialect=gnu"]);
    let program = program("context-musl-loaded", "musl-gcc", &["-DLOADED"]);
    check(Command::new(program).arg(library));
}

#[test]
fn in_a_loaded_library_of_musl_by_a_descriptor() {
    let library = library(
        "context-musl-descriptor",
        "musl-gcc",
        &["-mtls-dialect=gnu2"],
    );
    let program = program("context-musl-loaded", "musl-gcc", &["-DLOADED"]);
    check(Command::new(program).arg(library));
}

#[test]
fn in_a_rust_program() {
    check(&mut Command::new(build::rust_program("thread_context")));
}
