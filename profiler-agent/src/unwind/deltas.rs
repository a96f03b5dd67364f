//! The stack deltas of a Go function to its rules.
//!
//! A delta says how much lower the stack pointer is than at the function's entry.
//!
//! | | CFA | return address | caller's frame pointer |
//! |---|---|---|---|
//! | x86_64 | SP + delta + 8 | at CFA - 8 | at CFA - 16, where the delta has room for it |
//! | aarch64, delta 0 | SP | in the link register | in its register |
//! | aarch64 | SP + delta | at CFA - the first delta | 8 below |
//!
//! No register but the frame pointer outlives a call in Go. What a function does beside that, its
//! [`Shape`] says.

use std::ops::Range;

use profiler_common::unwind::{
    Aarch64, Architecture, CfaKind, Rule, SavedKind, StackSwitch, X86_64,
};

use super::base_register::BaseRegister;
use super::elf::Machine;
use crate::go::PcValues;
use crate::profile::ElfAddress;

/// Larger frames are mistakes: a goroutine's stack has at most 1 GB.
const MAX_DELTA: i32 = 1 << 30;

/// What a function does to stacks and registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// What its deltas say.
    Plain,
    /// It has no caller.
    Root,
    /// It writes the stack pointer, and nothing says how.
    Unknown,
    /// It was called at an instruction that is no call: its caller was interrupted there.
    Injected,
    /// It saves the registers that C keeps across calls: `crosscall2`, and on x86_64 all that C calls.
    SavesForeignRegisters,
    /// It saves the base register at an offset from the stack pointer on.
    SavesBaseRegister(i32),
    /// It goes on on another stack, with a word left at an offset there.
    Switch(StackSwitch, i32),
    /// As `Switch`, but only once its frame pointer is set up.
    FramedSwitch(StackSwitch, i32),
}

/// The rules of a function, in address order.
pub(super) struct Deltas<'a> {
    machine: Machine,
    base_register: BaseRegister,
    shape: Shape,
    values: PcValues<'a>,
    /// Where the frame pointer points into the frame from, once that is known.
    framed: Option<u64>,
    /// The first delta that is not zero: that of the frame, before the function makes room for a call of C.
    first: i32,
    /// The delta with which registers of C's were saved.
    saved: Option<i32>,
    /// The rest of a range that was cut.
    rest: Option<(Range<ElfAddress>, i32)>,
    /// From here on the caller's frame pointer is restored, in a frame that is still there.
    restored: u64,
}

impl<'a> Deltas<'a> {
    pub(super) const fn new(
        machine: Machine,
        base_register: BaseRegister,
        shape: Shape,
        values: PcValues<'a>,
    ) -> Self {
        Self {
            machine,
            base_register,
            shape,
            values,
            framed: None,
            first: 0,
            saved: None,
            rest: None,
            restored: u64::MAX,
        }
    }

    /// Bytes of the instructions that set the frame pointer up, behind that which lowers the stack
    /// pointer first. x86_64: `mov %rsp, %rbp` behind a push; before Go 1.21 the frame pointer was
    /// stored and computed behind the whole frame's subtraction. aarch64: it is stored and computed.
    const fn set_up_bytes(&self, delta: i32) -> u64 {
        match self.machine {
            Machine::X86_64 if delta == 8 => 3,
            Machine::X86_64 => 16,
            Machine::Aarch64 => 8,
        }
    }

    /// On aarch64 the caller's frame pointer is loaded before the instruction that gives the frame up, the last one of
    /// its range.
    fn restored_from(&self, range: &Range<ElfAddress>, delta: i32) -> u64 {
        if self.machine == Machine::X86_64 || !matches!(self.shape, Shape::FramedSwitch(..)) {
            return u64::MAX;
        }
        match self.values.clone().next() {
            Some(Ok((_, next))) if next < delta => range.end.0.saturating_sub(4),
            _ => u64::MAX,
        }
    }

    fn rule(&self, address: ElfAddress, delta: i32) -> Rule {
        if self.shape == Shape::Root {
            return Rule::END_OF_STACK;
        }
        if self.shape == Shape::Unknown || !(0..=MAX_DELTA).contains(&delta) {
            return Rule::NONE;
        }
        let mut rule = plain(self.machine, delta, self.first);
        let framed = self.framed.is_some_and(|framed| address.0 >= framed) && delta > 0;
        let framed = framed && address.0 < self.restored;
        match self.shape {
            Shape::Switch(switch, offset) => {
                rule.switch = switch as u16;
                rule.switch_offset = offset;
            }
            Shape::FramedSwitch(switch, offset) if framed => {
                rule.switch = switch as u16;
                rule.switch_offset = offset;
            }
            Shape::Injected => inject(self.machine, &mut rule),
            Shape::SavesForeignRegisters => {
                let place = match self.base_register {
                    BaseRegister::Rbx => 0,
                    BaseRegister::R12 => 8,
                };
                save_foreign_registers(self.machine, place, delta, self.saved, &mut rule);
            }
            Shape::SavesBaseRegister(offset) if delta > 0 => {
                rule.base_register = SavedKind::AtCfa as u8;
                rule.base_register_offset = offset - rule.cfa_offset;
            }
            Shape::SavesBaseRegister(_) => rule.base_register = SavedKind::Same as u8,
            Shape::Plain | Shape::Root | Shape::Unknown | Shape::FramedSwitch(..) => {}
        }
        rule
    }
}

impl Iterator for Deltas<'_> {
    type Item = (Range<ElfAddress>, Rule);

    fn next(&mut self) -> Option<Self::Item> {
        let (mut range, delta) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let (range, delta) = self.values.next()?.ok()?;
                self.restored = self.restored_from(&range, delta);
                (range, delta)
            }
        };
        // A frame that is larger than any is a mistake: nothing is counted from it.
        let is_frame = (1..=MAX_DELTA).contains(&delta);
        if self.framed.is_none() && is_frame {
            let framed = range.start.0.saturating_add(self.set_up_bytes(delta));
            self.framed = Some(framed);
            self.first = delta;
        }
        if self.saved.is_none() && is_frame && delta >= SAVED_BYTES {
            self.saved = Some(delta);
        }
        if matches!(self.shape, Shape::FramedSwitch(..)) {
            let cuts = [self.framed.unwrap_or(0), self.restored];
            if let Some(cut) = cuts
                .into_iter()
                .find(|cut| range.start.0 < *cut && *cut < range.end.0)
            {
                self.rest = Some((ElfAddress(cut)..range.end, delta));
                range.end = ElfAddress(cut);
            }
        }
        let rule = self.rule(range.start, delta);
        Some((range, rule))
    }
}

/// The rule of a frame with this delta, in which the return address was saved with the delta `first` on aarch64.
pub(super) const fn plain(machine: Machine, delta: i32, first: i32) -> Rule {
    let rule = Rule {
        base_register: SavedKind::Undefined as u8,
        ..Rule::of(CfaKind::Register)
    };
    match machine {
        Machine::X86_64 => Rule {
            cfa_register: X86_64::STACK_POINTER,
            cfa_offset: delta + 8,
            return_address: SavedKind::AtCfa as u8,
            return_address_offset: -8,
            frame_pointer: if delta >= 8 {
                SavedKind::AtCfa as u8
            } else {
                SavedKind::Same as u8
            },
            frame_pointer_offset: if delta >= 8 { -16 } else { 0 },
            ..rule
        },
        Machine::Aarch64 if delta == 0 => Rule {
            cfa_register: Aarch64::STACK_POINTER,
            ..rule
        },
        Machine::Aarch64 => Rule {
            cfa_register: Aarch64::STACK_POINTER,
            cfa_offset: delta,
            return_address: SavedKind::AtCfa as u8,
            return_address_offset: -first,
            frame_pointer: SavedKind::AtCfa as u8,
            frame_pointer_offset: -first - 8,
            ..rule
        },
    }
}

/// The signal handler pushes the interrupted pc on x86_64. On aarch64 it pushes the link register, in
/// 16 bytes, and puts the pc into it (`runtime/signal_*.go`, `pushCall`).
fn inject(machine: Machine, rule: &mut Rule) {
    rule.signal = 1;
    if machine == Machine::Aarch64 {
        rule.cfa_offset += 16;
        if rule.return_address == SavedKind::AtCfa as u8 {
            rule.return_address_offset -= 16;
            rule.frame_pointer_offset -= 16;
        }
    }
}

/// Bytes of `PUSH_REGS_HOST_TO_ABI0` on x86_64 (`runtime/cgo/abi_amd64.h`).
const SAVED_BYTES: i32 = 48;

/// x86_64: what `PUSH_REGS_HOST_TO_ABI0` pushes has rbx lowest and r12 above it: the base register is `place` bytes above the
/// lowest. The frame pointer is highest in it, or
/// (`crosscall2` from Go 1.22 on) was pushed before. aarch64: the 192 bytes of `crosscall2` have
/// x19 at 32, the frame pointer and the link register highest (`runtime/cgo/asm_arm64.s`).
fn save_foreign_registers(
    machine: Machine,
    place: i32,
    delta: i32,
    saved: Option<i32>,
    rule: &mut Rule,
) {
    match (machine, saved) {
        (Machine::X86_64, Some(saved)) if delta >= saved => {
            rule.base_register = SavedKind::AtCfa as u8;
            rule.base_register_offset = place - 8 - saved;
        }
        (Machine::X86_64, _) => rule.base_register = SavedKind::Same as u8,
        (Machine::Aarch64, _) if delta == 192 => {
            rule.return_address_offset = -8;
            rule.frame_pointer_offset = -16;
            rule.base_register = SavedKind::AtCfa as u8;
            rule.base_register_offset = 32 - 192;
        }
        (Machine::Aarch64, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_counted_from_a_frame_that_is_larger_than_any() {
        // A delta of 2,147,483,646, then one of 16.
        let bytes = [
            0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0xdb, 0xff, 0xff, 0xff, 0x0f, 1, 0,
        ];
        let range = 0x1000..0x1008;
        let rules = |machine, shape| {
            let values = PcValues::new(&bytes, 4, range.clone());
            let deltas = Deltas::new(machine, BaseRegister::Rbx, shape, values);
            deltas.map(|(_, rule)| rule).collect::<Vec<Rule>>()
        };
        let expected = [Rule::NONE, plain(Machine::Aarch64, 16, 16)];
        assert_eq!(rules(Machine::Aarch64, Shape::Plain), expected);
        let expected = [Rule::NONE, plain(Machine::X86_64, 16, 16)];
        assert_eq!(rules(Machine::X86_64, Shape::Plain), expected);
        for shape in [
            Shape::Injected,
            Shape::SavesForeignRegisters,
            Shape::SavesBaseRegister(32),
        ] {
            for machine in [Machine::Aarch64, Machine::X86_64] {
                assert_eq!(rules(machine, shape).len(), 2);
            }
        }
    }
}
