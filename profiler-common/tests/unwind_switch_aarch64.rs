//! Switches of stacks where the return address is in a link register (`runtime/asm_arm64.s`), and frames that only a
//! frame record tells of.

use std::collections::HashMap;

use profiler_common::layout::{GoRuntime, RuntimeEntry, ThreadLocal};
use profiler_common::unwind::{
    Aarch64, AddressMask, CfaKind, Goroutine, Memory, Outcome, Registers, Rule, SavedKind, Slot,
    StackSwitch, Stacks, Step, cross, frame_pointer_step, step,
};

const MACHINE: u64 = 0x1000;
const USER: u64 = 0x3000;
/// The user goroutine's stack.
const LOW: u64 = 0xc000_0000;
const HIGH: u64 = 0xc000_8000;
/// Where the goroutine is on it.
const HERE: u64 = LOW + 0x800;
/// Somewhere on the scheduler's stack.
const OTHER: u64 = 0x7f00_0000;
/// What `sched.pc` and `sched.lr` hold.
const SAVED: u64 = 0x40_1234;
const SAVED_LINK: u64 = 0x40_5678;
/// x3, in which a function leaves its return address for `morestack`.
const LINK_OF_CALLER: u64 = 0x40_9abc;
/// In the function that switches, behind its call of `save_g`.
const BEHIND_CALL: u64 = 0x41_0040;

struct Words(HashMap<u64, u64>);

impl Memory for Words {
    fn address_mask(&self) -> AddressMask {
        AddressMask::aarch64(AddressMask::AARCH64_UNSTRIPPED)
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        (number == 3).then_some(LINK_OF_CALLER)
    }
}

/// A thread whose goroutine was left at `sched` with this link register.
fn memory(sched: u64, link: u64) -> Words {
    Words(HashMap::from([
        (USER, LOW),
        (USER + 8, HIGH),
        (USER + 56, sched),
        (USER + 64, SAVED),
        (USER + 96, sched + 0x40),
        (USER + 88, link),
    ]))
}

fn entry() -> RuntimeEntry {
    RuntimeEntry {
        go: GoRuntime {
            g: ThreadLocal {
                kind: ThreadLocal::REGISTER,
                offset: 28,
                ..ThreadLocal::default()
            },
            g_m: 48,
            g_stack_hi: 8,
            g_sched_sp: 56,
            g_sched_pc: 64,
            g_sched_bp: 96,
            g_sched_lr: 88,
            m_curg: 184,
            ..GoRuntime::default()
        },
        ..RuntimeEntry::default()
    }
}

fn registers(stack_pointer: u64, link_register: u64, interrupted: u64) -> Registers {
    Registers {
        pc: BEHIND_CALL,
        stack_pointer,
        frame_pointer: Slot::value(0),
        base_register: Slot::lost(),
        link_register,
        interrupted,
        called_leaf: 0,
    }
}

/// A function without a frame that switches stacks.
fn frameless(switch: StackSwitch) -> Rule {
    Rule {
        cfa_register: 31,
        switch: switch as u16,
        ..Rule::of(CfaKind::Register)
    }
}

/// One step, and what the registers are then.
fn walk(mut registers: Registers, rule: &Rule, memory: &mut Words) -> (Step, Registers) {
    let mut stacks = Stacks::of(Goroutine {
        machine: MACHINE,
        user: USER,
        ..Goroutine::default()
    });
    let entry = entry();
    let crossed = cross::<Aarch64, _>(&mut registers, rule, &mut stacks, Some(&entry), memory);
    let step = crossed.unwrap_or_else(|| step::<Aarch64, _>(&mut registers, rule, memory));
    (step, registers)
}

#[test]
fn what_is_called_before_the_switch_overwrites_the_link_register() {
    for (switch, expected) in [
        (StackSwitch::Call, Step::Caller),
        (StackSwitch::Grow, Step::Replaced),
    ] {
        let rule = frameless(switch);
        let mut memory = memory(HERE, SAVED_LINK);
        // In `save_g`, and back from it.
        for there in [
            registers(HERE, 0, Registers::CALLED),
            registers(HERE, BEHIND_CALL - 8, Registers::LEAF),
            registers(HERE, BEHIND_CALL - 8, Registers::BY_SIGNAL),
        ] {
            let (step, caller) = walk(there, &rule, &mut memory);
            assert_eq!((step, caller.pc), (expected, SAVED));
            assert_eq!(caller.stack_pointer, HERE);
        }
        // Before it, with what was saved at another time.
        let mut stale = self::memory(HERE + 0x100, SAVED_LINK);
        let there = registers(HERE, 0, Registers::CALLED);
        let (step, _) = walk(there, &rule, &mut stale);
        assert_eq!(step, Step::End(Outcome::RegisterUnavailable));
    }
    let entered = registers(HERE, 0x42_0000, Registers::LEAF);
    let rule = frameless(StackSwitch::Call);
    let (step, caller) = walk(entered, &rule, &mut memory(0, 0));
    assert_eq!((step, caller.pc), (Step::Caller, 0x42_0000));
}

#[test]
fn the_function_that_needs_more_stack_still_has_its_return_address_in_a_register() {
    let rule = frameless(StackSwitch::Grow);
    let left = registers(OTHER, 0, Registers::CALLED);
    let entered = registers(HERE, 0x42_0000, Registers::LEAF);
    for (there, pc, link) in [
        (left, SAVED, SAVED_LINK),
        (entered, 0x42_0000, LINK_OF_CALLER),
    ] {
        let mut memory = memory(HERE, SAVED_LINK);
        let (step, function) = walk(there, &rule, &mut memory);
        assert_eq!((step, function.pc), (Step::Replaced, pc));
        assert_eq!(function.interrupted, Registers::CALLED);
        // It has no frame yet: its caller has the same stack pointer.
        let prologue = frameless(StackSwitch::None);
        let (step, caller) = walk(function, &prologue, &mut memory);
        assert_eq!((step, caller.pc), (Step::Caller, link));
        assert_eq!((caller.stack_pointer, caller.link_register), (HERE, 0));
        // That one called, and has a frame.
        let (step, _) = walk(caller, &prologue, &mut memory);
        assert_eq!(step, Step::End(Outcome::RegisterUnavailable));
    }
}

#[test]
fn gogo_gives_the_link_register_back() {
    let rule = frameless(StackSwitch::Resume);
    for (saved, loaded, expected) in [(SAVED_LINK, 7, SAVED_LINK), (0, SAVED_LINK, SAVED_LINK)] {
        let mut memory = memory(0, saved);
        let there = registers(HERE, loaded, Registers::LEAF);
        let (step, resumed) = walk(there, &rule, &mut memory);
        assert_eq!((step, resumed.pc), (Step::Caller, SAVED));
        assert_eq!(
            (resumed.link_register, resumed.interrupted),
            (expected, Registers::BY_SIGNAL)
        );
    }
}

#[test]
fn gogo_has_lost_who_called_it_but_not_the_frame() {
    let rule = frameless(StackSwitch::Resume);
    let mut memory = memory(0, 0);
    // `execute`, with 64 bytes, was called by a function with 128.
    let (execute, schedule) = (OTHER, OTHER + 64);
    memory.0.extend([
        (execute - 8, schedule - 8),
        (execute, SAVED),
        (schedule - 8, 0),
        (schedule, SAVED_LINK),
    ]);
    let mut there = registers(execute, 0, Registers::CALLED);
    there.frame_pointer = Slot::value(execute - 8);
    let (step, caller) = walk(there, &rule, &mut memory);
    assert_eq!((step, caller.pc), (Step::Caller, SAVED));
    // Go keeps the return address at the stack pointer and the frame pointer below it.
    let framed = Rule {
        cfa_register: 31,
        cfa_offset: 128,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -128,
        frame_pointer: SavedKind::AtCfa as u8,
        frame_pointer_offset: -136,
        ..Rule::of(CfaKind::Register)
    };
    let (step, caller) = walk(caller, &framed, &mut memory);
    assert_eq!((step, caller.pc), (Step::Caller, SAVED_LINK));
    assert_eq!(caller.stack_pointer, schedule + 128);
    // Before it has called, the link register says who called it.
    let there = registers(execute, 0x42_0000, Registers::LEAF);
    let (step, caller) = walk(there, &rule, &mut memory);
    assert_eq!((step, caller.pc), (Step::Caller, 0x42_0000));
}

#[test]
fn a_call_of_c_on_the_scheduler_s_stack_stays_in_its_frame() {
    let rule = Rule {
        cfa_offset: 32,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -32,
        frame_pointer: SavedKind::AtCfa as u8,
        frame_pointer_offset: -40,
        ..frameless(StackSwitch::ForeignCall)
    };
    let mut memory = memory(HERE, 0);
    memory.0.insert(OTHER, SAVED_LINK);
    // 16 bytes lower, where no goroutine is left.
    let mut there = registers(OTHER - 16, 0, Registers::LEAF);
    there.frame_pointer = Slot::value(OTHER - 8);
    let (step, caller) = walk(there, &rule, &mut memory);
    assert_eq!((step, caller.pc), (Step::Caller, SAVED_LINK));
    assert_eq!(caller.stack_pointer, OTHER + 32);
}

/// gcc puts the frame record at the bottom of a frame, clang at the top.
#[test]
fn a_frame_that_was_found_by_its_record_is_where_its_rule_saves_the_record() {
    for record_from_cfa in [-48, -16] {
        let mut memory = Words(HashMap::new());
        // JIT code with a record at 0x1000; its caller's frame of 48 bytes ends at 0x2000.
        let record = 0x2000_u64.wrapping_add_signed(record_from_cfa);
        memory.0.extend([
            (0x1000, record),
            (0x1008, SAVED),
            (record, 0x3000),
            (record + 8, SAVED_LINK),
        ]);
        let mut walked = registers(0x0f00, 0, Registers::LEAF);
        walked.frame_pointer = Slot::value(0x1000);
        let found =
            frame_pointer_step::<Aarch64, _>(&mut walked, Outcome::UnknownCode, &mut memory);
        assert_eq!((found, walked.pc), (Step::Caller, SAVED));
        let rule = Rule {
            cfa_register: 31,
            cfa_offset: 48,
            return_address: SavedKind::AtCfa as u8,
            return_address_offset: record_from_cfa as i32 + 8,
            frame_pointer: SavedKind::AtCfa as u8,
            frame_pointer_offset: record_from_cfa as i32,
            ..Rule::of(CfaKind::Register)
        };
        let mut by_rule = walked;
        let found = step::<Aarch64, _>(&mut by_rule, &rule, &mut memory);
        assert_eq!((found, by_rule.pc), (Step::Caller, SAVED_LINK));
        assert_eq!(by_rule.stack_pointer, 0x2000);
        // Without a record of its own there is no telling.
        let recordless = Rule {
            frame_pointer: SavedKind::Same as u8,
            ..rule
        };
        let found = step::<Aarch64, _>(&mut walked, &recordless, &mut memory);
        assert_eq!(found, Step::End(Outcome::RegisterUnavailable));
    }
}
