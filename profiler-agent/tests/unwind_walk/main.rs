//! Walks the stacks of real programs at every instruction, and compares with two that know
//! nothing of our tables: the stack that calls and returns make, and framehop.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod modules;
mod traced;

use std::collections::BTreeMap;
use std::path::Path;

use profiler_agent::unwind::walk::{AddressSpace, Code, Lookup, Walked, walk};
use profiler_common::unwind::{AddressMask, Memory, Outcome, Registers, Rule, Slot, X86_64};

use modules::Modules;
use traced::{Kind, Traced, compile};

struct TracedMemory<'t>(&'t Traced);

impl Memory for TracedMemory<'_> {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0.word(address)
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        let registers = &self.0.registers;
        Some(match number {
            0 => registers.rax,
            1 => registers.rdx,
            2 => registers.rcx,
            4 => registers.rsi,
            5 => registers.rdi,
            8 => registers.r8,
            9 => registers.r9,
            10 => registers.r10,
            11 => registers.r11,
            12 => registers.r12,
            13 => registers.r13,
            14 => registers.r14,
            15 => registers.r15,
            _ => return None,
        })
    }
}

fn walk_ours(traced: &Traced, space: &AddressSpace) -> Walked {
    let registers = Registers {
        pc: traced.registers.rip,
        stack_pointer: traced.registers.rsp,
        frame_pointer: Slot::value(traced.registers.rbp),
        base_register: Slot::value(traced.registers.rbx),
        link_register: 0,
        interrupted: Registers::LEAF,
        called_leaf: 0,
    };
    walk::<X86_64, _, _>(registers, space, &mut TracedMemory(traced))
}

/// Why a walk is not the true stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The interrupted function has no call frame information: start files (`_init`,
    /// `frame_dummy`, `deregister_tm_clones`) of a program without frame pointers.
    NoInformation,
    /// The walk is right as far as it goes, and ends saying that the last function it found has no call
    /// frame information.
    EndsHonestly,
    /// The rule is one that we do not evaluate: the end of `longjmp`, whose return address is in
    /// a register.
    Unsupported,
    /// The information is wrong: gcc 12 does not say that the frame pointer is restored behind the
    /// `pop %rbp` of a realigned frame.
    Misinformed,
    /// None of these: our mistake.
    Unexplained,
}

#[derive(Default)]
struct Tally {
    instructions: u64,
    deepest: usize,
    /// Instructions executed below a signal frame.
    below_signal: u64,
    wrong: BTreeMap<Cause, u64>,
    compared_with_framehop: u64,
    /// framehop's walks that differ from the truth.
    framehop_wrong: u64,
    /// Of those that framehop has right, those that we have wrong.
    framehop_better: u64,
}

impl Tally {
    fn wrong(&self, cause: Cause) -> u64 {
        self.wrong.get(&cause).copied().unwrap_or(0)
    }
}

fn cause(traced: &Traced, modules: &Modules, ours: &Walked) -> Cause {
    if modules.space().lookup(traced.registers.rip) == Lookup::Rule(Rule::NONE) {
        return Cause::NoInformation;
    }
    if ours.outcome == Outcome::UnsupportedRule {
        return Cause::Unsupported;
    }
    let code = traced.bytes(traced.registers.rip, 5).unwrap();
    // `lea -8(%r10), %rsp; ret`
    let restored = [0x49, 0x8d, 0x62, 0xf8, 0xc3];
    if code == restored
        || code[0] == 0xc3 && traced.bytes(traced.registers.rip - 4, 5).unwrap() == restored
    {
        return Cause::Misinformed;
    }
    Cause::Unexplained
}

/// Steps through `program`, comparing at every instruction.
fn check(program: &Path) -> Tally {
    let mut traced = Traced::start(program);
    let mut modules = Modules::default();
    let mut tally = Tally::default();
    loop {
        modules.update(&traced);
        let mut truth = traced.stack();
        // What is above an interrupted frame is its signal's trampoline, which was not called: it is told as it is.
        for outer in 1..truth.len() {
            if truth[outer].1 == Kind::Interrupted {
                truth[outer - 1].1 = Kind::Interrupted;
            }
        }
        let ours = walk_ours(&traced, modules.space());
        tally.instructions += 1;
        tally.deepest = tally.deepest.max(truth.len());
        let below_signal = truth[1..]
            .iter()
            .any(|(_, kind)| *kind == Kind::Interrupted);
        tally.below_signal += u64::from(below_signal);
        let frames = ours.frames.iter().map(|frame| {
            let kind = if frame.interrupted() {
                Kind::Interrupted
            } else {
                Kind::Called
            };
            (frame.pc(), kind)
        });
        let right = ours.outcome == Outcome::Root && frames.clone().eq(truth.iter().copied());
        if !right {
            let prefix = frames
                .clone()
                .zip(&truth)
                .all(|(ours, true_)| ours == *true_);
            let cause = match cause(&traced, &modules, &ours) {
                Cause::Unexplained if prefix && ours.outcome == Outcome::NoRule => {
                    Cause::EndsHonestly
                }
                cause => cause,
            };
            *tally.wrong.entry(cause).or_default() += 1;
            if cause >= Cause::Misinformed {
                let at = modules.describe(traced.registers.rip);
                println!("{cause:?} at {at}: {ours:x?}, true {truth:x?}");
            }
        }
        if tally.instructions.is_multiple_of(5) {
            let theirs = modules.framehop(&traced);
            tally.compared_with_framehop += 1;
            if !theirs.iter().eq(truth.iter().map(|(address, _)| address)) {
                tally.framehop_wrong += 1;
            } else if !right {
                tally.framehop_better += 1;
            }
        }
        if !traced.step() {
            return tally;
        }
    }
}

/// Compiles the program with `options`, steps through it, and demands that each walk is right, or
/// wrong for a known and rare cause.
fn check_variant(name: &str, options: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_walk/stacks.c");
    let program = compile("gcc", directory.path(), name, &source, options);
    let tally = check(&program);
    println!(
        "{name}: {} instructions, {} below a signal, {} frames deep; wrong: {:?}; framehop wrong {} of {}, right where we are wrong {}",
        tally.instructions,
        tally.below_signal,
        tally.deepest,
        tally.wrong,
        tally.framehop_wrong,
        tally.compared_with_framehop,
        tally.framehop_better,
    );
    assert!(tally.instructions > 15_000 && tally.below_signal > 350 && tally.deepest > 24);
    assert_eq!(tally.wrong(Cause::Unexplained), 0);
    assert_eq!(tally.wrong(Cause::EndsHonestly), 0);
    assert!(tally.wrong(Cause::NoInformation) <= 60);
    assert!(tally.wrong(Cause::Unsupported) <= 40);
    assert!(tally.wrong(Cause::Misinformed) <= 4);
    assert!(tally.framehop_better <= 20);
}

#[test]
fn without_frame_pointers() {
    check_variant("lazy", &["-O2", "-fomit-frame-pointer", "-Wl,-z,lazy"]);
}

#[test]
fn static_program() {
    check_variant("static", &["-O2", "-fomit-frame-pointer", "-static"]);
}

#[test]
fn without_optimization() {
    check_variant("O0", &["-O0", "-Wl,-z,now"]);
}

#[test]
fn vectorized_and_hardened() {
    let options = [
        "-O3",
        "-mavx2",
        "-fcf-protection=full",
        "-fstack-protector-all",
        "-Wl,-z,ibtplt",
    ];
    check_variant("hardened", &options);
}

#[test]
fn debug_frame_only() {
    let options = [
        "-O2",
        "-g",
        "-fomit-frame-pointer",
        "-fno-asynchronous-unwind-tables",
        "-fno-unwind-tables",
    ];
    check_variant("debug_frame", &options);
}

/// musl's library has no call frame information: what its functions do is read off their
/// instructions. Where that cannot be done nothing is said; where it is done it is right.
#[test]
fn static_program_of_another_library() {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unwind_walk/stacks.c");
    let options = ["-O2", "-fomit-frame-pointer", "-static"];
    let program = compile("musl-gcc", directory.path(), "musl", &source, &options);
    let tally = check(&program);
    println!(
        "{} instructions; wrong: {:?}",
        tally.instructions, tally.wrong
    );
    assert!(tally.instructions > 5_000 && tally.deepest > 24);
    assert_eq!(tally.wrong(Cause::Unexplained), 0);
    assert_eq!(tally.wrong(Cause::Misinformed), 0);
    // Calls out of a table of jumps (`printf_core`), and what is no function.
    let unknown = tally.wrong(Cause::NoInformation) + tally.wrong(Cause::EndsHonestly);
    assert!(unknown * 10 < tally.instructions);
}
