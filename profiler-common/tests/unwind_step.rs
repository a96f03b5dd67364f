//! Steps by example, and what holds for every rule, register and memory.

use std::collections::HashMap;

use profiler_common::unwind::{
    Aarch64, AddressMask, Architecture, CfaKind, Memory, Outcome, Registers, Rule, SavedKind, Slot,
    Step, X86_64, frame_pointer_step, step,
};
use proptest::prelude::*;

/// Memory by address; everything else cannot be read.
#[derive(Default)]
struct Words(HashMap<u64, u64>);

impl Words {
    fn of(words: &[(u64, u64)]) -> Self {
        Self(words.iter().copied().collect())
    }
}

impl Memory for Words {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0.get(&address).copied()
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        (number == 10).then_some(0x7000)
    }
}

fn leaf(pc: u64, stack_pointer: u64, frame_pointer: u64) -> Registers {
    Registers {
        pc,
        stack_pointer,
        frame_pointer: Slot::value(frame_pointer),
        base_register: Slot::value(0),
        link_register: 0,
        interrupted: Registers::LEAF,
        called_leaf: 0,
    }
}

fn rule(kind: CfaKind, register: u8, offset: i32) -> Rule {
    Rule {
        cfa_register: register,
        cfa_offset: offset,
        return_address: SavedKind::AtCfa as u8,
        return_address_offset: -8,
        ..Rule::of(kind)
    }
}

#[test]
fn a_saved_frame_pointer_is_read_when_a_rule_asks_for_it() {
    // The callee saved rbp, the caller's CFA is on it.
    let mut memory = Words::of(&[(0x1008, 0x40_1000), (0x1000, 0x2000), (0x2008, 0x40_2000)]);
    let mut registers = leaf(0x40_0000, 0x1000, 1);
    let pushed = Rule {
        frame_pointer: SavedKind::AtCfa as u8,
        frame_pointer_offset: -16,
        ..rule(CfaKind::Register, 7, 16)
    };
    assert_eq!(
        step::<X86_64, _>(&mut registers, &pushed, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_1000, 0x1010));
    let on_frame_pointer = rule(CfaKind::Register, 6, 16);
    assert_eq!(
        step::<X86_64, _>(&mut registers, &on_frame_pointer, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_2000, 0x2010));
}

#[test]
fn a_realigned_frame() {
    // gcc: CFA = *(rbp - 8), rbp at rbp + 0, rbx at rbp - 16.
    let mut memory = Words::of(&[
        (0x1038, 0x1080),
        (0x1078, 0x40_1000),
        (0x1040, 0x3000),
        (0x1030, 0x4000),
        (0x3008, 0x40_2000),
    ]);
    let mut registers = leaf(0x40_0000, 0x1000, 0x1040);
    let realigned = Rule {
        frame_pointer: SavedKind::AtFramePointer as u8,
        frame_pointer_offset: 0,
        base_register: SavedKind::AtFramePointer as u8,
        base_register_offset: -16,
        ..rule(CfaKind::Dereference, 6, -8)
    };
    assert_eq!(
        step::<X86_64, _>(&mut registers, &realigned, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_1000, 0x1080));
    assert_eq!(registers.base_register, Slot::saved_at(0x1030));
    let on_frame_pointer = rule(CfaKind::Register, 6, 16);
    assert_eq!(
        step::<X86_64, _>(&mut registers, &on_frame_pointer, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_2000, 0x3010));
}

#[test]
fn linkage_table_entries_by_address() {
    let lazy = Rule {
        cfa_addend: 11,
        ..rule(CfaKind::Plt, 7, 8)
    };
    for (pc, at) in [
        (0x40_0020, 0x1000),
        (0x40_0026, 0x1000),
        (0x40_002b, 0x1008),
    ] {
        let mut memory = Words::of(&[(at, 0x40_1000)]);
        let mut registers = leaf(pc, 0x1000, 0);
        assert_eq!(
            step::<X86_64, _>(&mut registers, &lazy, &mut memory),
            Step::Caller
        );
        assert_eq!(registers.stack_pointer, at + 8);
    }
}

#[test]
fn other_registers_only_in_the_interrupted_frame_and_its_caller() {
    let on_r10 = rule(CfaKind::Register, 10, 0);
    let on_sp = rule(CfaKind::Register, 7, 8);
    let words = [
        (0x1000, 0x40_1000),
        (0x6ff8, 0x40_2000),
        (0x7000, 0x40_3000),
    ];
    let walk = |registers: &mut Registers, rules: &[&Rule]| {
        let mut memory = Words::of(&words);
        let mut steps = rules.iter();
        let last = steps.find_map(|rule| {
            let step = step::<X86_64, _>(registers, rule, &mut memory);
            (step != Step::Caller).then_some(step)
        });
        last.unwrap_or(Step::Caller)
    };
    let unavailable = Step::End(Outcome::RegisterUnavailable);

    let mut registers = leaf(0x40_0000, 0x1000, 0);
    assert_eq!(walk(&mut registers, &[&on_r10]), Step::Caller);
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_2000, 0x7000));
    // Who called the interrupted function counts on what that leaves alone; nobody further out can.
    let mut registers = leaf(0x40_0000, 0x1000, 0);
    assert_eq!(walk(&mut registers, &[&on_sp, &on_r10]), Step::Caller);
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_2000, 0x7000));
    assert_eq!(walk(&mut registers, &[&on_sp, &on_r10]), unavailable);
    // What a signal interrupted has registers of its own.
    let signal = Rule { signal: 1, ..on_sp };
    let mut registers = leaf(0x40_0000, 0x1000, 0);
    assert_eq!(walk(&mut registers, &[&signal, &on_r10]), unavailable);
}

#[test]
fn aarch64_leaf_returns_by_its_link_register() {
    let empty = Rule {
        cfa_register: 31,
        ..Rule::of(CfaKind::Register)
    };
    let mut registers = Registers {
        link_register: 0x40_1000,
        ..leaf(0x40_0000, 0x1000, 0)
    };
    let mut memory = Words::default();
    assert_eq!(
        step::<Aarch64, _>(&mut registers, &empty, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_1000, 0x1000));
    // A second time it would repeat for ever.
    assert_eq!(
        step::<Aarch64, _>(&mut registers, &empty, &mut memory),
        Step::End(Outcome::RegisterUnavailable)
    );
}

#[test]
fn aarch64_signal_frame_recovers_the_link_register_of_a_leaf() {
    // struct rt_sigframe: x29, x30, sp, pc.
    let frame = 0x1000;
    let mut memory = Words::of(&[
        (frame + 544, 0x2040),
        (frame + 552, 0x40_3000),
        (frame + 560, 0x2000),
        (frame + 568, 0x40_2000),
    ]);
    let signal = Rule {
        cfa_register: 31,
        cfa_offset: 560,
        return_address: SavedKind::AtStackPointer as u8,
        return_address_offset: 568,
        frame_pointer: SavedKind::AtStackPointer as u8,
        frame_pointer_offset: 544,
        signal: 1,
        ..Rule::of(CfaKind::Dereference)
    };
    let mut registers = leaf(0x7000, frame, 0);
    assert_eq!(
        step::<Aarch64, _>(&mut registers, &signal, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_2000, 0x2000));
    assert_eq!(registers.interrupted, Registers::BY_SIGNAL);
    let empty = Rule {
        cfa_register: 31,
        ..Rule::of(CfaKind::Register)
    };
    assert_eq!(
        step::<Aarch64, _>(&mut registers, &empty, &mut memory),
        Step::Caller
    );
    assert_eq!((registers.pc, registers.stack_pointer), (0x40_3000, 0x2000));
}

#[test]
fn frame_records_lead_to_a_root_of_zero() {
    let mut memory = Words::of(&[
        (0x1010, 0x1040),
        (0x1018, 0x40_1000),
        (0x1040, 0),
        (0x1048, 0x40_2000),
    ]);
    let mut registers = leaf(0x7f00, 0x1000, 0x1010);
    let mut next =
        || frame_pointer_step::<X86_64, _>(&mut registers, Outcome::UnknownCode, &mut memory);
    assert_eq!(
        [next(), next(), next()],
        [Step::Caller, Step::Caller, Step::End(Outcome::Root)]
    );
    // Below the stack pointer, or odd: it was no frame pointer.
    for wrong in [0x0ff8, 0x1011] {
        let mut registers = leaf(0x7f00, 0x1000, wrong);
        assert_eq!(
            frame_pointer_step::<X86_64, _>(&mut registers, Outcome::UnknownCode, &mut memory),
            Step::End(Outcome::UnknownCode)
        );
    }
}

/// Memory that answers everything in user space from a seed.
struct Anything(u64);

impl Memory for Anything {
    fn address_mask(&self) -> AddressMask {
        AddressMask::X86_64
    }
    fn read_word(&mut self, address: u64) -> Option<u64> {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(address | 1);
        let word = self.0 >> (self.0 >> 59);
        (address < 1 << 57 && self.0 & 0x30 != 0).then_some(word)
    }
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.read_word(u64::from(number))
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let kinds = (
        0u8..8,
        prop_oneof![Just(7u8), Just(6), Just(3), Just(29), Just(31), any::<u8>()],
    );
    let saved = (0u8..6, 0u8..6, 0u8..6);
    let small = || prop_oneof![4 => -256i32..256, 1 => any::<i32>()];
    (
        kinds,
        saved,
        0u8..2,
        small(),
        small(),
        small(),
        small(),
        small(),
    )
        .prop_map(
            |(
                kinds,
                saved,
                signal,
                cfa_offset,
                cfa_addend,
                return_address,
                frame_pointer,
                base,
            )| Rule {
                cfa: kinds.0,
                cfa_register: kinds.1,
                return_address: saved.0,
                frame_pointer: saved.1,
                base_register: saved.2,
                signal,
                cfa_offset,
                cfa_addend,
                return_address_offset: return_address,
                frame_pointer_offset: frame_pointer,
                base_register_offset: base,
                ..Rule::NONE
            },
        )
}

/// Steps `limit` times at most; every step but that over a signal frame goes up the stack.
fn check_advances<A: Architecture>(rules: &[Rule], mut registers: Registers, mut memory: Anything) {
    for rule in rules.iter().cycle().take(300) {
        let before = registers;
        if step::<A, _>(&mut registers, rule, &mut memory) != Step::Caller {
            return;
        }
        assert!(registers.pc != 0 && registers.pc & !memory.address_mask().bits() == 0);
        if rule.signal == 0 {
            // Where the return address is in a register, nothing need be on the stack.
            let in_register = rule.return_address == SavedKind::InRegister as u8;
            let may_stay = match before.interrupted {
                Registers::LEAF => A::LINK_REGISTER || in_register,
                Registers::BY_SIGNAL => A::LINK_REGISTER,
                _ => false,
            };
            assert!(
                registers.stack_pointer > before.stack_pointer
                    || may_stay && registers.stack_pointer == before.stack_pointer
            );
            assert_eq!(registers.interrupted, Registers::CALLED);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_step_goes_up(
        rules in prop::collection::vec(any_rule(), 1..6),
        seed in any::<u64>(),
        words in any::<[u64; 4]>(),
        shift in 0u32..64,
        link_register in any::<u64>(),
    ) {
        let [pc, stack_pointer, frame_pointer, base_register] = words.map(|word| word >> shift);
        let registers = Registers {
            base_register: Slot::value(base_register),
            link_register,
            ..leaf(pc, stack_pointer, frame_pointer)
        };
        check_advances::<X86_64>(&rules, registers, Anything(seed));
        check_advances::<Aarch64>(&rules, registers, Anything(seed));
    }

    #[test]
    fn every_frame_record_lies_further_up(seed in any::<u64>(), sp in 0u64..1 << 57, above in 0u64..4096) {
        let mut registers = leaf(1, sp, sp + above * 8);
        let mut memory = Anything(seed);
        for _ in 0..300 {
            let before = registers.stack_pointer;
            if frame_pointer_step::<X86_64, _>(&mut registers, Outcome::NoRule, &mut memory) != Step::Caller {
                break;
            }
            prop_assert!(registers.stack_pointer > before);
        }
    }
}
