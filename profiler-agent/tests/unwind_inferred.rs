//! Rules that are read off instructions, beside the call frame information of the same file: a static program with its C
//! library, with and without it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::process::Command;

use object::{Object as _, ObjectSymbol as _, SymbolKind};
use profiler_agent::profile::UnwindTable;
use profiler_agent::unwind::build;
use profiler_common::unwind::table::rule_index;
use profiler_common::unwind::{CfaKind, Rule, SavedKind};

/// What is the same for all of a machine's functions.
struct Machine {
    tools: &'static str,
    stack_pointer: u8,
    /// Bytes of the shortest instruction.
    step: usize,
    flags: &'static [&'static str],
    /// How the names of functions in assembly begin that push without saying so, or are jumped to with words pushed.
    unusual: &'static [&'static str],
}

const X86_64: Machine = Machine {
    tools: "",
    stack_pointer: 7,
    step: 1,
    flags: &[],
    unusual: &["__mpn_", "_dl_runtime_"],
};
const AARCH64: Machine = Machine {
    tools: "aarch64-linux-gnu-",
    stack_pointer: 31,
    step: 4,
    flags: &["-mbranch-protection=standard"],
    unusual: &[],
};

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn rule_at(table: &UnwindTable, address: u64) -> Rule {
    let offset = address - table.start.0;
    let index = rule_index(table.words.as_slice(), table.buckets, offset).unwrap();
    table.rules[usize::from(index)]
}

/// Where a register is: what was saved and is not changed yet may be said to be in either place.
fn agrees(inferred: (u8, i32), stated: (u8, i32)) -> bool {
    let saved = SavedKind::AtCfa as u8;
    inferred == stated || (inferred.0 == SavedKind::Same as u8 && stated.0 == saved)
}

/// Where the return address is: once it was saved it is there until the frame is given up, also where it is back in the
/// link register.
fn leads_to_the_same(inferred: &Rule, stated: &Rule) -> bool {
    let place = |rule: &Rule| (rule.return_address, rule.return_address_offset);
    let restored = stated.return_address == SavedKind::Same as u8
        && inferred.return_address == SavedKind::AtCfa as u8
        && inferred.return_address_offset >= -inferred.cfa_offset;
    place(inferred) == place(stated) || restored
}

/// What a file without call frame information says of itself at least.
struct Expected {
    /// Functions that are found.
    functions: u32,
    /// Bytes of code whose rules agree.
    bytes: u64,
    /// The same, to one that has no rule of its own.
    to_one: u64,
}

/// What is taken away beside call frame information leaves rules that are the same: bytes of functions that have a rule with the
/// stack pointer in both tables and in the one with call frame information alone; every such rule leads to the same place.
fn check(machine: &Machine, flags: &[&str], taken_away: &[&str], expected: &Expected) {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_walk/stacks.c");
    let [with, without] = ["with", "without"].map(|name| directory.path().join(name));
    run(Command::new(format!("{}gcc", machine.tools))
        .args(["-O2"])
        .args(machine.flags)
        .args(flags)
        .arg("-o")
        .args([&with, &source]));
    run(Command::new(format!("{}objcopy", machine.tools))
        .args(["-R", ".eh_frame", "-R", ".eh_frame_hdr"])
        .args(taken_away)
        .args([&with, &without]));
    let data = std::fs::read(&with).unwrap();
    let stated = build(data.as_slice()).unwrap().table;
    let built = build(std::fs::read(&without).unwrap().as_slice()).unwrap();
    assert!(
        built.statistics.inferred_functions > expected.functions,
        "{:?}",
        built.statistics
    );
    let inferred = built.table;

    let file = object::File::parse(data.as_slice()).unwrap();
    let functions = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    let (mut both, mut only_stated) = (0_u64, 0_u64);
    for function in functions {
        let name = function.name().unwrap();
        if machine.unusual.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let range = function.address()..function.address() + function.size();
        for address in range.step_by(machine.step) {
            let one = rule_at(&inferred, address);
            let other = rule_at(&stated, address);
            let by_stack_pointer = |rule: &Rule| {
                rule.cfa == CfaKind::Register as u8 && rule.cfa_register == machine.stack_pointer
            };
            if !by_stack_pointer(&other) || other.signal != 0 {
                continue;
            }
            if one == Rule::NONE {
                only_stated += 1;
                continue;
            }
            if !by_stack_pointer(&one) {
                continue;
            }
            both += 1;
            let same = one.cfa_offset == other.cfa_offset
                && leads_to_the_same(&one, &other)
                && agrees(
                    (one.frame_pointer, one.frame_pointer_offset),
                    (other.frame_pointer, other.frame_pointer_offset),
                );
            assert!(
                same,
                "{name} at {address:#x}: inferred {one:?}, stated {other:?}"
            );
        }
    }
    println!(
        "{} functions: {both} agree, {only_stated} without a rule of their own",
        built.statistics.inferred_functions
    );
    assert!(
        both > expected.bytes && both > expected.to_one * only_stated,
        "{both} {only_stated}"
    );
}

/// With its symbols.
const NAMED: Expected = Expected {
    functions: 500,
    bytes: 50_000,
    to_one: 4,
};
/// Without symbols: what is only called by way of tables is not found, nor what lies behind calls that may never return.
#[cfg(target_arch = "x86_64")]
const STRIPPED: Expected = Expected {
    functions: 400,
    bytes: 150_000,
    to_one: 0,
};

#[test]
#[cfg(target_arch = "x86_64")]
fn x86_64() {
    check(&X86_64, &["-static"], &[], &NAMED);
}

#[test]
fn aarch64() {
    check(&AARCH64, &["-static"], &[], &NAMED);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn x86_64_without_symbols() {
    check(&X86_64, &["-static"], &["--strip-all"], &STRIPPED);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn x86_64_at_any_address_without_symbols() {
    check(&X86_64, &["-static-pie"], &["--strip-all"], &STRIPPED);
}

#[test]
fn aarch64_without_symbols() {
    let expected = Expected {
        functions: 400,
        bytes: 40_000,
        to_one: 0,
    };
    check(&AARCH64, &["-static"], &["--strip-all"], &expected);
}
