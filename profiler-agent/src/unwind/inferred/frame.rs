//! What is known about a frame before an instruction.

use profiler_common::unwind::{Aarch64, Architecture, CfaKind, Rule, SavedKind, X86_64};

use crate::unwind::elf::Machine;

/// A register that a callee keeps for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Does it still hold the caller's value?
    pub(super) same: bool,
    /// Where the caller's value is saved, from the CFA on.
    pub(super) slot: Option<i32>,
}

impl Kept {
    const fn join(self, other: Self) -> Self {
        let slot = match (self.slot, other.slot) {
            (Some(one), Some(two)) if one == two => Some(one),
            _ => None,
        };
        Self {
            same: self.same && other.same,
            slot,
        }
    }

    const fn saved(self) -> (u8, i32) {
        match self.slot {
            _ if self.same => (SavedKind::Same as u8, 0),
            Some(offset) => (SavedKind::AtCfa as u8, offset),
            None => (SavedKind::Undefined as u8, 0),
        }
    }
}

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes from the stack pointer to the CFA.
    pub(super) depth: Option<i32>,
    /// Bytes from the frame pointer to the CFA, where it points into the frame.
    pub(super) frame_pointer_depth: Option<i32>,
    /// Bytes from the base register to the CFA, where it does: assembly keeps the stack pointer there before it aligns
    /// the stack.
    pub(super) base_register_depth: Option<i32>,
    pub(super) frame_pointer: Kept,
    pub(super) base_register: Kept,
    /// On x86_64 always at the top of the frame.
    pub(super) return_address: Kept,
}

/// Bytes of the return address: what a call leaves on x86_64.
pub(super) const X86_64_CALLED: i32 = 8;

impl Frame {
    /// Behind a call.
    pub(super) const fn entered(machine: Machine) -> Self {
        let untouched = Kept {
            same: true,
            slot: None,
        };
        let (depth, return_address) = match machine {
            Machine::X86_64 => {
                let pushed = Kept {
                    same: false,
                    slot: Some(-X86_64_CALLED),
                };
                (X86_64_CALLED, pushed)
            }
            Machine::Aarch64 => (0, untouched),
        };
        Self {
            depth: Some(depth),
            frame_pointer_depth: None,
            base_register_depth: None,
            frame_pointer: untouched,
            base_register: untouched,
            return_address,
        }
    }

    /// What holds in both.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            depth: self.depth.filter(|depth| other.depth == Some(*depth)),
            frame_pointer_depth: self
                .frame_pointer_depth
                .filter(|depth| other.frame_pointer_depth == Some(*depth)),
            base_register_depth: self
                .base_register_depth
                .filter(|depth| other.base_register_depth == Some(*depth)),
            frame_pointer: self.frame_pointer.join(other.frame_pointer),
            base_register: self.base_register.join(other.base_register),
            return_address: self.return_address.join(other.return_address),
        }
    }

    /// Forgets what was saved below the stack pointer.
    pub(super) fn forget_popped(&mut self) {
        if let Some(depth) = self.depth {
            for kept in [
                &mut self.frame_pointer,
                &mut self.base_register,
                &mut self.return_address,
            ] {
                kept.slot = kept.slot.filter(|slot| *slot >= -depth);
            }
        }
    }

    /// Its rule.
    pub(super) fn rule(&self, machine: Machine) -> Rule {
        let registers = match machine {
            Machine::X86_64 => [
                X86_64::STACK_POINTER,
                X86_64::FRAME_POINTER,
                X86_64::BASE_REGISTER,
            ],
            Machine::Aarch64 => [
                Aarch64::STACK_POINTER,
                Aarch64::FRAME_POINTER,
                Aarch64::BASE_REGISTER,
            ],
        };
        let depths = [
            self.depth,
            self.frame_pointer_depth,
            self.base_register_depth,
        ];
        let mut known = registers.into_iter().zip(depths);
        let Some((register, offset)) = known.find_map(|(register, depth)| Some((register, depth?)))
        else {
            return Rule::NONE;
        };
        // A frame that called is looked up at the call, before which the link register was not changed yet: where it
        // was saved counts. Undefined would say that there is no caller.
        let (return_address, return_address_offset) = match self.return_address {
            Kept {
                slot: Some(offset), ..
            } => (SavedKind::AtCfa as u8, offset),
            Kept { same: true, .. } => (SavedKind::Same as u8, 0),
            Kept { .. } => return Rule::NONE,
        };
        let (frame_pointer, frame_pointer_offset) = self.frame_pointer.saved();
        let (base_register, base_register_offset) = self.base_register.saved();
        Rule {
            cfa_register: register,
            cfa_offset: offset,
            return_address,
            return_address_offset,
            frame_pointer,
            frame_pointer_offset,
            base_register,
            base_register_offset,
            ..Rule::of(CfaKind::Register)
        }
    }
}
