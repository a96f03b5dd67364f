//! What is known about a frame before an instruction.

use profiler_common::unwind::{Architecture, CfaKind, Rule, SavedKind, X86_64};

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
    pub(super) frame_pointer: Kept,
    pub(super) base_register: Kept,
}

/// Bytes of the return address: what a call leaves.
pub(super) const CALLED: i32 = 8;

impl Frame {
    /// Behind a call.
    pub(super) const ENTERED: Self = Self {
        depth: Some(CALLED),
        frame_pointer_depth: None,
        frame_pointer: Kept {
            same: true,
            slot: None,
        },
        base_register: Kept {
            same: true,
            slot: None,
        },
    };

    /// What holds in both.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            depth: self.depth.filter(|depth| other.depth == Some(*depth)),
            frame_pointer_depth: self
                .frame_pointer_depth
                .filter(|depth| other.frame_pointer_depth == Some(*depth)),
            frame_pointer: self.frame_pointer.join(other.frame_pointer),
            base_register: self.base_register.join(other.base_register),
        }
    }

    /// Forgets what was saved below the stack pointer.
    pub(super) fn forget_popped(&mut self) {
        if let Some(depth) = self.depth {
            for kept in [&mut self.frame_pointer, &mut self.base_register] {
                kept.slot = kept.slot.filter(|slot| *slot >= -depth);
            }
        }
    }

    /// Its rule.
    pub(super) fn rule(&self) -> Rule {
        let (register, offset) = match (self.depth, self.frame_pointer_depth) {
            (Some(depth), _) => (X86_64::STACK_POINTER, depth),
            (None, Some(depth)) => (X86_64::FRAME_POINTER, depth),
            (None, None) => return Rule::NONE,
        };
        let (frame_pointer, frame_pointer_offset) = self.frame_pointer.saved();
        let (base_register, base_register_offset) = self.base_register.saved();
        Rule {
            cfa_register: register,
            cfa_offset: offset,
            return_address: SavedKind::AtCfa as u8,
            return_address_offset: -CALLED,
            frame_pointer,
            frame_pointer_offset,
            base_register,
            base_register_offset,
            ..Rule::of(CfaKind::Register)
        }
    }
}
