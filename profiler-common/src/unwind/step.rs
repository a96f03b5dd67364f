//! One step from a frame to its caller.

use super::{AddressMask, Architecture, CfaKind, Outcome, Rule, SavedKind};

/// Reads the memory of the task whose stack is walked.
pub trait Memory {
    /// Which bits of the return addresses in it are address.
    fn address_mask(&self) -> AddressMask;
    /// The 8 bytes at `address`, in native byte order; `None` when they cannot be read.
    fn read_word(&mut self, address: u64) -> Option<u64>;
    /// A register of the interrupted frame by its DWARF number. Only asked for registers other
    /// than the stack pointer, the frame pointer and the base register.
    fn interrupted_register(&mut self, number: u8) -> Option<u64>;
}

/// A register's value, or where on the stack it was saved: read only when a rule asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    word: u64,
    kind: u64,
}

impl Slot {
    const VALUE: u64 = 0;
    const SAVED: u64 = 1;
    const LOST: u64 = 2;
    const RECORD: u64 = 3;

    /// The register holds `value`.
    #[must_use]
    pub const fn value(value: u64) -> Self {
        Self {
            word: value,
            kind: Self::VALUE,
        }
    }
    /// The register was saved at `address`.
    #[must_use]
    pub const fn saved_at(address: u64) -> Self {
        Self {
            word: address,
            kind: Self::SAVED,
        }
    }
    /// The register holds `value`, and it is all that tells where the frame is: the stack pointer is only known
    /// to lie no lower than stated.
    #[must_use]
    pub const fn record(value: u64) -> Self {
        Self {
            word: value,
            kind: Self::RECORD,
        }
    }
    /// The register cannot be recovered.
    #[must_use]
    pub const fn lost() -> Self {
        Self {
            word: 0,
            kind: Self::LOST,
        }
    }
    /// Does the walk know the register's value without a place in memory that it was saved to?
    #[inline(always)]
    pub(super) const fn is_value(self) -> bool {
        self.kind == Self::VALUE
    }

    /// The register's value.
    #[inline(always)]
    pub(super) fn load<M: Memory>(self, memory: &mut M) -> Result<u64, Outcome> {
        match self.kind {
            Self::VALUE | Self::RECORD => Ok(self.word),
            Self::SAVED => memory.read_word(self.word).ok_or(Outcome::MemoryUnreadable),
            _ => Err(Outcome::RegisterUnavailable),
        }
    }
}

/// The registers of one frame that lead to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Where the frame executes: interrupted there, or to return there.
    pub pc: u64,
    /// Stack pointer.
    pub stack_pointer: u64,
    /// Frame pointer.
    pub frame_pointer: Slot,
    /// The base register (`Architecture::BASE_REGISTER`).
    pub base_register: Slot,
    /// Link register; 0 on machines without one, and in frames that called. A signal frame
    /// recovers that of the frame it interrupted, a switch of stacks that of a frame that had not saved it yet.
    pub link_register: u64,
    /// Was the pc interrupted, and by what: [`Registers::CALLED`], [`Registers::LEAF`] or
    /// [`Registers::BY_SIGNAL`].
    pub interrupted: u64,
    /// 1: the frame called the interrupted one, by its rule. A register that its own rule counts on across that call is the
    /// one that was interrupted: assembly agrees with its local functions on what they leave alone.
    pub called_leaf: u64,
}

impl Registers {
    /// The frame called another one: its pc is a return address.
    pub const CALLED: u64 = 0;
    /// The sampled frame itself: all its registers can be asked for.
    pub const LEAF: u64 = 1;
    /// The frame was interrupted by a signal: its pc is exact, its other registers are not kept.
    pub const BY_SIGNAL: u64 = 2;
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The registers are the caller's now.
    Caller,
    /// The registers are those of the frame that this one stands for: it is not shown.
    Replaced,
    /// The walk is over.
    End(Outcome),
}

#[inline(always)]
pub(super) const fn at(base: u64, offset: i32) -> u64 {
    base.wrapping_add(offset as i64 as u64)
}

/// Replaces `registers` by the caller's according to `rule`.
///
/// The caller's stack pointer is the CFA (DWARF 5, section 6.4.1). It must lie above this frame's,
/// except that a frame whose return address is still in a register may be empty, and
/// that a signal frame may lead to another stack.
#[inline(always)]
pub fn step<A: Architecture, M: Memory>(
    registers: &mut Registers,
    rule: &Rule,
    memory: &mut M,
) -> Step {
    match advance::<A, M>(registers, rule, memory) {
        Ok(()) => Step::Caller,
        Err(outcome) => Step::End(outcome),
    }
}

#[inline(always)]
fn advance<A: Architecture, M: Memory>(
    registers: &mut Registers,
    rule: &Rule,
    memory: &mut M,
) -> Result<(), Outcome> {
    place_by_record::<A>(registers, rule)?;
    let frame_stack_pointer = registers.stack_pointer;
    let cfa = canonical_frame_address::<A, M>(registers, rule, memory)?;

    let in_register = SavedKind::InRegister as u8;
    let return_address = match rule.return_address {
        kind if kind == SavedKind::AtCfa as u8 => memory
            .read_word(at(cfa, rule.return_address_offset))
            .ok_or(Outcome::MemoryUnreadable)?,
        kind if kind == SavedKind::AtStackPointer as u8 => memory
            .read_word(at(frame_stack_pointer, rule.return_address_offset))
            .ok_or(Outcome::MemoryUnreadable)?,
        kind if kind == SavedKind::Same as u8 && A::LINK_REGISTER => {
            if registers.link_register == 0 {
                return Err(Outcome::RegisterUnavailable);
            }
            registers.link_register
        }
        kind if kind == in_register && registers.interrupted == Registers::LEAF => memory
            .interrupted_register(rule.return_address_offset as u8)
            .ok_or(Outcome::RegisterUnavailable)?,
        kind if kind == in_register => return Err(Outcome::RegisterUnavailable),
        _ => return Err(Outcome::Root),
    };
    let return_address = memory.address_mask().address(return_address);
    if return_address == 0 {
        return Err(Outcome::Root);
    }

    let signal = rule.signal != 0;
    let by_link = A::LINK_REGISTER
        && (registers.interrupted != Registers::CALLED || registers.link_register != 0);
    let empty_frame_allowed = by_link || rule.return_address == in_register;
    let grows = cfa > frame_stack_pointer || (empty_frame_allowed && cfa == frame_stack_pointer);
    if !grows && !signal {
        return Err(Outcome::NotAdvancing);
    }

    let by_frame_pointer = SavedKind::AtFramePointer as u8;
    let frame_pointer =
        if rule.frame_pointer == by_frame_pointer || rule.base_register == by_frame_pointer {
            registers.frame_pointer.load(memory)?
        } else {
            0
        };
    let places = Places {
        cfa,
        stack_pointer: frame_stack_pointer,
        frame_pointer,
    };
    // An interrupted leaf may return by its link register.
    registers.link_register = if A::LINK_REGISTER && signal {
        let place = if rule.return_address == SavedKind::AtStackPointer as u8 {
            let place = at(frame_stack_pointer, rule.return_address_offset);
            at(place, A::LINK_REGISTER_FROM_PC)
        } else {
            at(cfa, A::INJECTED_LINK_REGISTER)
        };
        memory.read_word(place).unwrap_or(0)
    } else {
        0
    };
    registers.frame_pointer = places.saved(
        registers.frame_pointer,
        rule.frame_pointer,
        rule.frame_pointer_offset,
    );
    registers.base_register = places.saved(
        registers.base_register,
        rule.base_register,
        rule.base_register_offset,
    );
    registers.pc = return_address;
    registers.stack_pointer = cfa;
    registers.called_leaf = (!signal && registers.interrupted == Registers::LEAF) as u64;
    registers.interrupted = if signal {
        Registers::BY_SIGNAL
    } else {
        Registers::CALLED
    };
    Ok(())
}

/// Gives a frame that was found by its frame pointer its stack pointer, which a rule may ask for. The frame pointer
/// points to the frame record, and that is where the rule says that the caller's frame pointer was saved: on x86_64
/// at the top of the frame, on aarch64 anywhere in it (AAPCS64, section 6.4.6).
#[inline(always)]
pub(super) fn place_by_record<A: Architecture>(
    registers: &mut Registers,
    rule: &Rule,
) -> Result<(), Outcome> {
    if !A::LINK_REGISTER || registers.frame_pointer.kind != Slot::RECORD {
        return Ok(());
    }
    let record = registers.frame_pointer.word;
    registers.frame_pointer = Slot::value(record);
    if rule.cfa == CfaKind::EndOfStack as u8 || rule.cfa_register != A::STACK_POINTER {
        return Ok(());
    }
    if rule.cfa != CfaKind::Register as u8 || rule.frame_pointer != SavedKind::AtCfa as u8 {
        return Err(Outcome::RegisterUnavailable);
    }
    let from_stack_pointer =
        i64::from(rule.cfa_offset).wrapping_add(i64::from(rule.frame_pointer_offset));
    let stack_pointer = record.wrapping_sub(from_stack_pointer as u64);
    if stack_pointer < registers.stack_pointer {
        return Err(Outcome::NotAdvancing);
    }
    registers.stack_pointer = stack_pointer;
    Ok(())
}

#[inline(always)]
fn canonical_frame_address<A: Architecture, M: Memory>(
    registers: &Registers,
    rule: &Rule,
    memory: &mut M,
) -> Result<u64, Outcome> {
    let kind = rule.cfa;
    if kind == CfaKind::Register as u8 || kind == CfaKind::Dereference as u8 {
        let base = if rule.cfa_register == A::STACK_POINTER {
            registers.stack_pointer
        } else if rule.cfa_register == A::FRAME_POINTER {
            registers.frame_pointer.load(memory)?
        } else if rule.cfa_register == A::BASE_REGISTER {
            registers.base_register.load(memory)?
        } else if registers.interrupted == Registers::LEAF || registers.called_leaf != 0 {
            memory
                .interrupted_register(rule.cfa_register)
                .ok_or(Outcome::RegisterUnavailable)?
        } else {
            return Err(Outcome::RegisterUnavailable);
        };
        let address = at(base, rule.cfa_offset);
        if kind == CfaKind::Register as u8 {
            return Ok(address);
        }
        let word = memory.read_word(address).ok_or(Outcome::MemoryUnreadable)?;
        return Ok(at(word, rule.cfa_addend));
    }
    if kind == CfaKind::Plt as u8 {
        let pushed = (registers.pc & 15) >= rule.cfa_addend as u64;
        let cfa = at(registers.stack_pointer, rule.cfa_offset);
        return Ok(if pushed { at(cfa, 8) } else { cfa });
    }
    if kind == CfaKind::EndOfStack as u8 {
        return Err(Outcome::Root);
    }
    if kind == CfaKind::Unsupported as u8 {
        return Err(Outcome::UnsupportedRule);
    }
    Err(Outcome::NoRule)
}

/// What saved registers are found by.
struct Places {
    cfa: u64,
    stack_pointer: u64,
    frame_pointer: u64,
}

impl Places {
    #[inline(always)]
    fn saved(&self, now: Slot, kind: u8, offset: i32) -> Slot {
        if kind == SavedKind::Same as u8 {
            now
        } else if kind == SavedKind::AtCfa as u8 {
            Slot::saved_at(at(self.cfa, offset))
        } else if kind == SavedKind::AtStackPointer as u8 {
            Slot::saved_at(at(self.stack_pointer, offset))
        } else if kind == SavedKind::AtFramePointer as u8 {
            Slot::saved_at(at(self.frame_pointer, offset))
        } else {
            Slot::lost()
        }
    }
}

/// Replaces `registers` by the caller's, by the frame record that the frame pointer points to:
/// the caller's frame pointer, then the return address, on both machines (System V AMD64 psABI
/// section 3.2.2; AAPCS64 section 6.4.6). For code without a rule: JIT code, files whose table is
/// not there, assembly without call frame information.
///
/// `otherwise` names why there was no rule; it is the outcome when the chain leads nowhere. A frame
/// pointer of zero is the root: process and thread entry points clear it. Not so in code whose table
/// is not there (yet): it may be built without frame pointers. Nor where code without call frame information was
/// interrupted: assembly uses the register as it likes.
#[inline(always)]
pub fn frame_pointer_step<A: Architecture, M: Memory>(
    registers: &mut Registers,
    otherwise: Outcome,
    memory: &mut M,
) -> Step {
    match follow_frame_pointer::<A, M>(registers, otherwise, memory) {
        Ok(()) => Step::Caller,
        Err(outcome) => Step::End(outcome),
    }
}

#[inline(always)]
pub(super) fn follow_frame_pointer<A: Architecture, M: Memory>(
    registers: &mut Registers,
    otherwise: Outcome,
    memory: &mut M,
) -> Result<(), Outcome> {
    // Code whose table is not there may use the register for anything, zero included; so may assembly while it runs.
    let end = match otherwise {
        Outcome::TablePending => Outcome::TablePending,
        Outcome::NoRule if registers.interrupted != Registers::CALLED => Outcome::NoRule,
        _ => Outcome::Root,
    };
    let record = registers
        .frame_pointer
        .load(memory)
        .map_err(|_| otherwise)?;
    if record == 0 {
        return Err(end);
    }
    // Go's frame records on aarch64 begin 8 bytes below the stack pointer.
    let lowest = if A::LINK_REGISTER {
        registers.stack_pointer.wrapping_sub(8)
    } else {
        registers.stack_pointer
    };
    if record & 7 != 0 || record < lowest {
        return Err(otherwise);
    }
    let caller_frame_pointer = memory.read_word(record).ok_or(otherwise)?;
    let return_address = memory.read_word(at(record, 8)).ok_or(otherwise)?;
    let return_address = memory.address_mask().address(return_address);
    if return_address == 0 {
        return Err(end);
    }
    registers.pc = return_address;
    registers.stack_pointer = at(record, 16);
    registers.frame_pointer = if A::LINK_REGISTER {
        Slot::record(caller_frame_pointer)
    } else {
        Slot::value(caller_frame_pointer)
    };
    registers.base_register = Slot::lost();
    registers.link_register = 0;
    registers.interrupted = Registers::CALLED;
    registers.called_leaf = 0;
    Ok(())
}
