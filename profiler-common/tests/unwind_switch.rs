//! Switches between the stacks of a Go thread by example, and what holds for all of them.

use std::collections::HashMap;

use profiler_common::layout::{GoRuntime, RuntimeEntry, ThreadLocal};
use profiler_common::unwind::{
    Aarch64, AddressMask, Architecture, CfaKind, Goroutine, Memory, Outcome, Registers, Rule,
    SavedKind, Slot, StackSwitch, Stacks, Step, X86_64, cross, step,
};
use proptest::prelude::*;

/// Memory; and r12 where it is known, at a number that is no address.
#[derive(Default)]
struct Words(HashMap<u64, u64>);

const R12: u64 = 12;

impl Memory for Words {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.0.get(&number.into()).copied()
    }
}

const MACHINE: u64 = 0x1000;
const SCHEDULER: u64 = 0x2000;
const USER: u64 = 0x3000;
/// The user goroutine's stack.
const LOW: u64 = 0xc000_0000;
const HIGH: u64 = 0xc000_8000;
/// Somewhere on the scheduler's stack.
const OTHER: u64 = 0x7f00_0000;
const CALLER: u64 = 0x40_1234;

fn entry() -> RuntimeEntry {
    RuntimeEntry {
        go: GoRuntime {
            g: ThreadLocal {
                kind: ThreadLocal::STATIC,
                offset: -8,
                ..ThreadLocal::default()
            },
            g_m: 48,
            g_stack_hi: 8,
            g_sched_sp: 56,
            g_sched_pc: 64,
            g_sched_bp: 96,
            m_curg: 184,
            ..GoRuntime::default()
        },
        ..RuntimeEntry::default()
    }
}

/// A thread that runs a goroutine that was left at `sched`.
fn memory(sched: u64) -> Words {
    Words(HashMap::from([
        (MACHINE, SCHEDULER),
        (USER, LOW),
        (USER + 8, HIGH),
        (USER + 56, sched),
        (USER + 64, CALLER),
        (USER + 96, sched + 0x40),
    ]))
}

fn running() -> Stacks {
    Stacks::of(Goroutine {
        machine: MACHINE,
        user: USER,
        ..Goroutine::default()
    })
}

fn idle() -> Stacks {
    Stacks::of(Goroutine {
        machine: MACHINE,
        ..Goroutine::default()
    })
}

fn registers(stack_pointer: u64, frame_pointer: u64, interrupted: u64) -> Registers {
    Registers {
        pc: 0x40_0000,
        stack_pointer,
        frame_pointer: Slot::value(frame_pointer),
        base_register: Slot::lost(),
        link_register: 0,
        interrupted,
        called_leaf: 0,
    }
}

/// A frame on x86_64 that holds nothing but the caller's frame pointer.
fn rule(switch: StackSwitch, switch_offset: i32) -> Rule {
    Rule {
        cfa_register: 7,
        cfa_offset: 16,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -8,
        frame_pointer: SavedKind::AtCfa as u8,
        frame_pointer_offset: -16,
        switch: switch as u16,
        switch_offset,
        ..Rule::of(CfaKind::Register)
    }
}

/// The same on aarch64: 16 bytes with the return address, the frame pointer below them.
fn rule_aarch64(switch: StackSwitch, switch_offset: i32) -> Rule {
    Rule {
        cfa_register: 31,
        return_address_offset: -16,
        frame_pointer_offset: -24,
        ..rule(switch, switch_offset)
    }
}

/// Crosses, and where that leaves the stack pointer.
fn crossed<A: Architecture>(
    mut registers: Registers,
    rule: &Rule,
    stacks: &mut Stacks,
    memory: &mut Words,
) -> (Option<Step>, u64) {
    let entry = entry();
    let step = cross::<A, _>(&mut registers, rule, stacks, Some(&entry), memory);
    (step, registers.stack_pointer)
}

#[test]
fn systemstack_goes_on_where_the_goroutine_was_left() {
    let rule = rule(StackSwitch::SystemStack, 0);
    let called = registers(OTHER, LOW + 0x900, Registers::CALLED);
    let mut memory = memory(LOW + 0x800);
    assert_eq!(
        crossed::<X86_64>(called, &rule, &mut running(), &mut memory),
        (None, LOW + 0x800)
    );
    // Without a goroutine there is no telling.
    let unknown = (Some(Step::End(Outcome::GoroutineUnknown)), OTHER);
    assert_eq!(
        crossed::<X86_64>(called, &rule, &mut idle(), &mut memory),
        unknown
    );
    let mut without = called;
    let step = cross::<X86_64, _>(&mut without, &rule, &mut running(), None, &mut memory);
    assert_eq!(step, unknown.0);
    // A stack pointer that is not on the goroutine's stack is none of its.
    memory.0.insert(USER + 56, HIGH + 8);
    assert_eq!(
        crossed::<X86_64>(called, &rule, &mut running(), &mut memory),
        unknown
    );
}

#[test]
fn systemstack_on_the_scheduler_s_stack_already_stays_there() {
    let rule = rule(StackSwitch::SystemStack, 0);
    let leaf = registers(OTHER, OTHER, Registers::LEAF);
    let mut memory = memory(LOW + 0x800);
    for stacks in [&mut running(), &mut idle()] {
        assert_eq!(
            crossed::<X86_64>(leaf, &rule, stacks, &mut memory),
            (None, OTHER)
        );
    }
    let rule = rule_aarch64(StackSwitch::SystemStack, 0);
    let leaf = registers(OTHER, OTHER - 8, Registers::LEAF);
    assert_eq!(
        crossed::<Aarch64>(leaf, &rule, &mut idle(), &mut memory),
        (None, OTHER)
    );
    // Switched, the frame pointer still in the goroutine's frame.
    let leaf = registers(OTHER, LOW + 0x7f8, Registers::LEAF);
    assert_eq!(
        crossed::<Aarch64>(leaf, &rule, &mut running(), &mut memory),
        (None, LOW + 0x800)
    );
}

#[test]
fn mcall_leads_to_its_caller_and_morestack_is_not_shown() {
    let mut memory = memory(LOW + 0x800);
    memory.0.insert(LOW + 0x840, 0x77);
    let entry = entry();
    for (switch, expected) in [
        (StackSwitch::Call, Step::Caller),
        (StackSwitch::Grow, Step::Replaced),
    ] {
        let rule = rule(switch, 0);
        let mut registers = registers(OTHER, 0, Registers::CALLED);
        let step = cross::<X86_64, _>(
            &mut registers,
            &rule,
            &mut running(),
            Some(&entry),
            &mut memory,
        );
        assert_eq!(step, Some(expected));
        assert_eq!(
            (registers.pc, registers.stack_pointer),
            (CALLER, LOW + 0x800)
        );
        assert_eq!(registers.frame_pointer, Slot::saved_at(USER + 96));
        assert_eq!(registers.interrupted, Registers::CALLED);
        // Before it switches it is a frame like others.
        let plain = self::registers(LOW + 0x700, 0, Registers::LEAF);
        assert_eq!(
            crossed::<X86_64>(plain, &rule, &mut running(), &mut memory),
            (None, LOW + 0x700)
        );
        // The goroutine is gone: the thread works for none.
        let root = (Some(Step::End(Outcome::Root)), OTHER);
        let called = self::registers(OTHER, 0, Registers::CALLED);
        assert_eq!(
            crossed::<X86_64>(called, &rule, &mut idle(), &mut memory),
            root
        );
    }
}

#[test]
fn what_is_scheduled_next_is_not_done_for_the_goroutine_before() {
    let mut memory = memory(LOW + 0x800);
    let mut stacks = running();
    let called = registers(OTHER, 0, Registers::CALLED);
    let schedule = rule(StackSwitch::Schedule, 0);
    assert_eq!(
        crossed::<X86_64>(called, &schedule, &mut stacks, &mut memory),
        (None, OTHER)
    );
    for switch in [StackSwitch::Call, StackSwitch::Grow] {
        let rule = rule(switch, 0);
        assert_eq!(
            crossed::<X86_64>(called, &rule, &mut stacks, &mut memory).0,
            Some(Step::End(Outcome::Root))
        );
    }
}

#[test]
fn the_race_detector_was_called_where_r12_says() {
    let rule = rule(StackSwitch::RaceCall, 0);
    let called = registers(OTHER, 0, Registers::CALLED);
    let crossed_with = |base_register, words: &[(u64, u64)]| {
        let mut memory = memory(0);
        memory.0.extend(words.iter().copied());
        let called = Registers {
            base_register,
            ..called
        };
        crossed::<X86_64>(called, &rule, &mut running(), &mut memory)
    };
    // Nobody has saved it: it is the one that was interrupted, not rbx, which has the base register's place.
    let rbx = Slot::value(LOW + 0x100);
    let goroutine = (None, LOW + 0x900);
    assert_eq!(crossed_with(rbx, &[(R12, LOW + 0x900)]), goroutine);
    // Somebody has.
    let saved = Slot::saved_at(OTHER - 0x20);
    let words = [(R12, 1), (OTHER - 0x20, LOW + 0x900)];
    assert_eq!(crossed_with(saved, &words), goroutine);
    // It was on the scheduler's stack already, and aligned it.
    let scheduler = OTHER + 8;
    assert_eq!(crossed_with(rbx, &[(R12, scheduler)]), (None, scheduler));
    // It is something else, or lost.
    for wrong in [OTHER + 0x100, LOW + 0x901, 0] {
        let (step, _) = crossed_with(rbx, &[(R12, wrong)]);
        assert_eq!(step, Some(Step::End(Outcome::GoroutineUnknown)));
    }
    let (step, _) = crossed_with(Slot::lost(), &[(R12, LOW + 0x900)]);
    assert_eq!(step, Some(Step::End(Outcome::RegisterUnavailable)));
}

#[test]
fn gogo_continues_the_goroutine_when_it_is_on_its_stack() {
    let mut memory = memory(0);
    let rule = rule(StackSwitch::Resume, 0);
    let entry = entry();
    let mut resumed = registers(LOW + 0x900, 1, Registers::LEAF);
    let step = cross::<X86_64, _>(
        &mut resumed,
        &rule,
        &mut running(),
        Some(&entry),
        &mut memory,
    );
    assert_eq!(step, Some(Step::Caller));
    assert_eq!((resumed.pc, resumed.stack_pointer), (CALLER, LOW + 0x900));
    assert_eq!(resumed.interrupted, Registers::BY_SIGNAL);
    let before = registers(OTHER, 1, Registers::LEAF);
    assert_eq!(
        crossed::<X86_64>(before, &rule, &mut running(), &mut memory),
        (None, OTHER)
    );
}

#[test]
fn calls_of_c_left_whose_they_are_and_how_deep() {
    for offset in [8, 48] {
        let rule = rule(StackSwitch::ForeignCall, offset);
        let called = registers(OTHER, LOW + 0x900, Registers::CALLED);
        // The goroutine's stack was moved meanwhile: what `sched` and the frame pointer say is old.
        let mut memory = memory(LOW + 0x800);
        let place = OTHER + offset as u64;
        memory.0.extend([(place, USER), (place - 8, 0x700)]);
        for stacks in [&mut running(), &mut Stacks::default()] {
            assert_eq!(
                crossed::<X86_64>(called, &rule, stacks, &mut memory),
                (None, HIGH - 0x700)
            );
        }
        // Called on the scheduler's stack: no goroutine, and the stack pointer itself.
        memory.0.extend([(place, 0), (place - 8, OTHER + 0x40)]);
        assert_eq!(
            crossed::<X86_64>(called, &rule, &mut running(), &mut memory),
            (None, OTHER + 0x40)
        );
        // Interrupted before the call: the frame pointer is the goroutine's.
        let leaf = registers(OTHER, LOW + 0x900, Registers::LEAF);
        assert_eq!(
            crossed::<X86_64>(leaf, &rule, &mut Stacks::default(), &mut memory),
            (None, LOW + 0x900)
        );
    }
    let rule = rule_aarch64(StackSwitch::ForeignCall, 0);
    let called = registers(OTHER, 0, Registers::CALLED);
    let mut memory = memory(LOW + 0x800);
    memory.0.extend([(OTHER, USER), (OTHER + 8, 0x700)]);
    assert_eq!(
        crossed::<Aarch64>(called, &rule, &mut running(), &mut memory),
        (None, HIGH - 0x700)
    );
    let leaf = registers(OTHER, OTHER + 0x1000, Registers::LEAF);
    assert_eq!(
        crossed::<Aarch64>(leaf, &rule, &mut running(), &mut memory),
        (None, LOW + 0x800)
    );
}

#[test]
fn a_callback_in_a_callback() {
    let rule = rule(StackSwitch::Callback, 0);
    let mut memory = memory(LOW + 0x100);
    let (inner, outer) = (OTHER - 0x1000, OTHER);
    memory.0.extend([
        (SCHEDULER + 56, inner),
        (inner, outer),
        (outer, OTHER + 0x2000),
    ]);
    let mut stacks = running();
    for (stack_pointer, expected) in [(LOW + 0x200, inner), (LOW + 0x600, outer)] {
        let called = registers(stack_pointer, 0, Registers::CALLED);
        assert_eq!(
            crossed::<X86_64>(called, &rule, &mut stacks, &mut memory),
            (None, expected)
        );
    }
    // On the scheduler's stack it is a frame like others, in a thread of C's too.
    let called = registers(OTHER + 0x40, 0, Registers::CALLED);
    for stacks in [&mut running(), &mut Stacks::default()] {
        assert_eq!(
            crossed::<X86_64>(called, &rule, stacks, &mut memory),
            (None, OTHER + 0x40)
        );
    }
}

#[test]
fn a_frame_by_its_pointer_wherever_the_stack_pointer_is() {
    let rule = rule(StackSwitch::FramePointer, 0);
    let mut memory = memory(0);
    let on_the_scheduler_s = registers(OTHER, LOW + 0x900, Registers::CALLED);
    assert_eq!(
        crossed::<X86_64>(on_the_scheduler_s, &rule, &mut idle(), &mut memory),
        (None, LOW + 0x900)
    );
    for wrong in [0, LOW + 0x901] {
        let leaf = registers(OTHER, wrong, Registers::LEAF);
        let (step, _) = crossed::<X86_64>(leaf, &rule, &mut idle(), &mut memory);
        assert!(matches!(step, Some(Step::End(_))));
    }
}

#[test]
fn a_call_that_a_signal_handler_injected_on_aarch64() {
    // `pushCall` saved the link register at the CFA's 16 bytes; the interrupted pc was saved lowest.
    let rule = Rule {
        cfa_register: 31,
        cfa_offset: 256,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -256,
        signal: 1,
        ..Rule::of(CfaKind::Register)
    };
    let mut memory = Words(HashMap::from([
        (0x8000, 0x40_1000),
        (0x8000 + 240, 0x40_2000),
    ]));
    let mut registers = registers(0x8000, 0, Registers::CALLED);
    assert_eq!(
        step::<Aarch64, _>(&mut registers, &rule, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_1000, 0x8100));
    assert_eq!(registers.link_register, 0x40_2000);
    assert_eq!(registers.interrupted, Registers::BY_SIGNAL);
}

/// Memory in which every address holds something, plausible pointers often.
struct Anything(u64);

impl Memory for Anything {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        let mixed = (address ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match mixed >> 61 {
            0 => None,
            1 => Some(0),
            2 => Some(mixed),
            3 => Some(LOW + (mixed & 0x7ff8)),
            4 => Some(HIGH),
            5 => Some(OTHER + (mixed & 0xfff8)),
            6 => Some(USER),
            _ => Some(address.wrapping_add(8)),
        }
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.read_word(u64::from(number))
    }
}

fn walks<A: Architecture>(
    seed: u64,
    mut registers: Registers,
    rules: &[Rule],
    entry: &RuntimeEntry,
    goroutine: Goroutine,
) {
    let mut memory = Anything(seed);
    let mut stacks = Stacks::of(goroutine);
    for _ in 0..2000 {
        let rule = &rules[registers.pc as usize % rules.len()];
        let entry = (seed & 1 == 0).then_some(entry);
        let crossed = cross::<A, _>(&mut registers, rule, &mut stacks, entry, &mut memory);
        let stepped = crossed.unwrap_or_else(|| step::<A, _>(&mut registers, rule, &mut memory));
        if let Step::End(_) = stepped {
            return;
        }
    }
}

proptest! {
    #[test]
    fn no_walk_over_any_memory_panics(
        seed in any::<u64>(),
        pc in any::<u64>(),
        stack_pointer in prop_oneof![any::<u64>(), LOW..HIGH, OTHER..OTHER + 0x1_0000],
        frame_pointer in any::<u64>(),
        interrupted in 0_u64..3,
        shapes in prop::collection::vec(
            (0_u16..12, any::<i32>(), any::<i32>(), any::<i32>(), any::<u8>(), 0_u8..6), 1..12),
        machine in any::<u64>(),
        user in prop_oneof![Just(0), Just(USER), any::<u64>()],
    ) {
        let rules: Vec<Rule> = shapes
            .iter()
            .map(|&(switch, offset, cfa, frame, signal, saved)| Rule {
                cfa_offset: cfa,
                frame_pointer: saved,
                frame_pointer_offset: frame,
                switch,
                switch_offset: offset,
                signal,
                return_address: SavedKind::AtCfa as u8,
                return_address_offset: offset,
                cfa_register: if cfa & 1 == 0 { 7 } else { 31 },
                ..Rule::of(CfaKind::Register)
            })
            .collect();
        let registers = Registers { pc, ..registers(stack_pointer, frame_pointer, interrupted) };
        let goroutine = Goroutine { machine, user, inconsistent: seed >> 1 & 1 };
        // Overflows are panics here.
        walks::<X86_64>(seed, registers, &rules, &entry(), goroutine);
        walks::<Aarch64>(seed, registers, &rules, &entry(), goroutine);
    }
}
