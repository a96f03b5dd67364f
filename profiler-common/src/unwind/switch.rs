//! From one stack of a Go thread to the next.
//!
//! A thread has its scheduler's stack (of `m.g0`, in programs with C the thread's own) and the stack of
//! the user goroutine that it runs (`m.curg`); a signal handler may have a third. The functions that go
//! from one to another leave behind where they came from, each in its own way:
//!
//! | function | leads to | where it left it |
//! |---|---|---|
//! | `systemstack` | its own frame | `curg.sched.sp` |
//! | `mcall` | its caller | `curg.sched` |
//! | `morestack` | the function that needs more stack | `curg.sched` |
//! | `gogo` | the goroutine that it resumes | `curg.sched.pc` |
//! | `asmcgocall` | its own frame | the goroutine and the depth in its stack, in the C function's caller |
//! | `cgocallback` | its own frame, then C | `m.g0.sched.sp`; that of the callback around it, in that frame |
//! | `racecall` (x86_64) | its own frame | r12, which C keeps: it is the base register of the C code's rules |
//!
//! Each of them runs on both stacks, one after the other; which one it is tells the stack pointer.
//! On machines with a link register (`runtime/asm_arm64.s`) they call another function between saving and
//! switching, which overwrites their own return address: from there on what they saved counts. The function
//! that calls `morestack` has not saved its own return address yet: it is in a register (x3 on aarch64), then
//! in `curg.sched.lr`, and back in the link register when `gogo` resumes the function. `gogo` itself is never
//! returned from, and once it has called, the function that called it is only known by its frame record:
//! the walk goes on with that one's caller.
//!
//! What a thread finds to do next, below `schedule`, is not done for the goroutine whose `mcall` led
//! there: the walk ends at `mcall`.
//!
//! Whatever does not fit ends the walk with `GoroutineUnknown`.

use super::step::{at, follow_frame_pointer, place_by_record};
use super::{Architecture, Goroutine, Memory, Outcome, Registers, Rule, Slot, StackSwitch, Step};
use crate::layout::{GoRuntime, RuntimeEntry, ThreadLocal};

/// More bytes of code than there are in the functions that switch, from where they call another one on to where
/// they switch.
const SWITCHING_CODE: u64 = 128;

/// What `racecall` may lower the stack pointer by where it is on the scheduler's stack already.
const RACE_CALL_ALIGNMENT: u64 = 8;

/// More than the largest stack that a goroutine may have (`runtime.maxstacksize`).
const MAX_STACK_BYTES: u64 = 1 << 31;

/// What a walk knows of its thread's stacks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    goroutine: Goroutine,
    /// The user goroutine's stack; 0: not read yet.
    low: u64,
    high: u64,
    /// Where the innermost callback that was not passed yet left the scheduler's stack; 0: not read yet.
    callback: u64,
    /// 1: the walk came through `schedule`.
    scheduling: u64,
}

impl Stacks {
    /// Those of a thread that works for `goroutine`.
    #[must_use]
    pub const fn of(goroutine: Goroutine) -> Self {
        Self {
            goroutine,
            low: 0,
            high: 0,
            callback: 0,
            scheduling: 0,
        }
    }

    /// Does `address` lie on the user goroutine's stack?
    #[inline(always)]
    fn on_user_stack<M: Memory>(
        &mut self,
        go: &GoRuntime,
        address: u64,
        memory: &mut M,
    ) -> Result<bool, Outcome> {
        let user = self.goroutine.user;
        if user == 0 {
            return Ok(false);
        }
        if self.high == 0 {
            let high = memory.read_word(user.wrapping_add(go.g_stack_hi as u64));
            self.high = high.ok_or(Outcome::GoroutineUnknown)?;
            self.low = memory.read_word(user).ok_or(Outcome::GoroutineUnknown)?;
        }
        if self.low >= self.high || self.high - self.low > MAX_STACK_BYTES {
            return Err(Outcome::GoroutineUnknown);
        }
        Ok(self.low <= address && address <= self.high)
    }

    /// The stack pointer that the user goroutine was left with.
    #[inline(always)]
    fn saved_stack_pointer<M: Memory>(
        &mut self,
        go: &GoRuntime,
        memory: &mut M,
    ) -> Result<u64, Outcome> {
        let place = self.goroutine.user.wrapping_add(go.g_sched_sp as u64);
        let saved = memory.read_word(place).ok_or(Outcome::GoroutineUnknown)?;
        if saved & 7 != 0 || !self.on_user_stack(go, saved, memory)? {
            return Err(Outcome::GoroutineUnknown);
        }
        Ok(saved)
    }

    /// The frame of the innermost callback on the scheduler's stack; the next one is that around it.
    #[inline(always)]
    fn pass_callback<M: Memory>(
        &mut self,
        go: &GoRuntime,
        rule: &Rule,
        memory: &mut M,
    ) -> Result<u64, Outcome> {
        let mut frame = self.callback;
        if frame == 0 {
            // `m.g0` is the first field of `m`.
            let scheduler = memory.read_word(self.goroutine.machine);
            let scheduler = scheduler.ok_or(Outcome::GoroutineUnknown)?;
            let place = scheduler.wrapping_add(go.g_sched_sp as u64);
            frame = memory.read_word(place).ok_or(Outcome::GoroutineUnknown)?;
        }
        let frame = aligned(frame)?;
        let around = memory.read_word(at(frame, rule.switch_offset));
        self.callback = around.ok_or(Outcome::GoroutineUnknown)?;
        Ok(frame)
    }
}

/// Follows the switch of `rule`, if it has one. `None`: the registers are those of the frame that the
/// rest of the rule holds for; else what the switch led to.
#[inline(always)]
pub fn cross<A: Architecture, M: Memory>(
    registers: &mut Registers,
    rule: &Rule,
    stacks: &mut Stacks,
    entry: Option<&RuntimeEntry>,
    memory: &mut M,
) -> Option<Step> {
    if rule.switch == StackSwitch::None as u16 {
        return None;
    }
    match follow::<A, M>(registers, rule, stacks, entry, memory) {
        Ok(step) => step,
        Err(outcome) => Some(Step::End(outcome)),
    }
}

#[inline(always)]
fn follow<A: Architecture, M: Memory>(
    registers: &mut Registers,
    rule: &Rule,
    stacks: &mut Stacks,
    entry: Option<&RuntimeEntry>,
    memory: &mut M,
) -> Result<Option<Step>, Outcome> {
    place_by_record::<A>(registers, rule)?;
    let switch = rule.switch;
    let called = registers.interrupted == Registers::CALLED;
    // Has the function called another one, and lost its return address by that?
    let has_called = A::LINK_REGISTER
        && (called || registers.pc.wrapping_sub(registers.link_register) < SWITCHING_CODE);
    if switch == StackSwitch::Schedule as u16 {
        stacks.scheduling = 1;
        return Ok(None);
    }
    let leaves = switch == StackSwitch::Call as u16 || switch == StackSwitch::Grow as u16;
    if leaves && stacks.scheduling != 0 {
        return Err(Outcome::Root);
    }
    let foreign_call = switch == StackSwitch::ForeignCall as u16;
    let by_pointer = switch == StackSwitch::FramePointer as u16
        || (foreign_call && !called && A::FOREIGN_CALL_KEEPS_FRAME_POINTER);
    if by_pointer || foreign_call || switch == StackSwitch::SystemStack as u16 {
        let pointed = registers.frame_pointer.load(memory);
        let frame = pointed.map(|pointer| pointer.wrapping_sub(frame_pointer_distance(rule)));
        // Before it switches, the frame pointer points into its frame.
        if frame == Ok(registers.stack_pointer) {
            return Ok(None);
        }
        // On the scheduler's stack already, `asmcgocall` makes room for what it leaves and keeps its frame.
        let kept = foreign_call && !called && frame == Ok(registers.stack_pointer.wrapping_add(16));
        if by_pointer || kept {
            registers.stack_pointer = frame.and_then(aligned)?;
            return Ok(None);
        }
    }
    if foreign_call && called {
        registers.stack_pointer = foreign_call_frame::<A, M>(registers, rule, memory)?;
        return Ok(None);
    }

    if switch == StackSwitch::RaceCall as u16 {
        let kept = race_call_frame::<A, M>(registers, memory)?;
        if kept.wrapping_sub(registers.stack_pointer) > RACE_CALL_ALIGNMENT {
            let go = &entry.ok_or(Outcome::GoroutineUnknown)?.go;
            if !stacks.on_user_stack(go, kept, memory)? {
                return Err(Outcome::GoroutineUnknown);
            }
        }
        registers.stack_pointer = kept;
        return Ok(None);
    }

    let entry = entry.ok_or(Outcome::GoroutineUnknown)?;
    let go = &entry.go;
    if go.g.kind == ThreadLocal::ABSENT || stacks.goroutine.inconsistent != 0 {
        return Err(Outcome::GoroutineUnknown);
    }
    let on_user_stack = stacks.on_user_stack(go, registers.stack_pointer, memory)?;

    if switch == StackSwitch::Callback as u16 {
        // A thread of C's is on its own stack until it has got a goroutine.
        if on_user_stack {
            registers.stack_pointer = stacks.pass_callback(go, rule, memory)?;
        }
        return Ok(None);
    }
    let user = stacks.goroutine.user;
    if switch == StackSwitch::Resume as u16 {
        if !on_user_stack {
            if has_called {
                follow_frame_pointer::<A, M>(registers, Outcome::GoroutineUnknown, memory)?;
                return Ok(Some(Step::Caller));
            }
            return Ok(None);
        }
        let place = user.wrapping_add(go.g_sched_pc as u64);
        let resumed = memory.read_word(place).ok_or(Outcome::GoroutineUnknown)?;
        let link_register = match saved_link_register::<A, M>(go, user, memory) {
            // It was loaded already.
            0 => registers.link_register,
            saved => saved,
        };
        go_to(registers, resumed, memory)?;
        registers.link_register = link_register;
        registers.interrupted = Registers::BY_SIGNAL;
        return Ok(Some(Step::Caller));
    }
    if on_user_stack {
        let saved = leaves
            && has_called
            && stacks.saved_stack_pointer(go, memory) == Ok(registers.stack_pointer);
        if !saved {
            let entered = registers.interrupted == Registers::LEAF && !has_called;
            if A::LINK_REGISTER && entered && switch == StackSwitch::Grow as u16 {
                let link_register = memory.interrupted_register(A::MORESTACK_LINK);
                go_to(registers, registers.link_register, memory)?;
                registers.link_register = link_register.unwrap_or(0);
                registers.interrupted = Registers::CALLED;
                return Ok(Some(Step::Replaced));
            }
            return Ok(None);
        }
    }
    if stacks.goroutine.machine == 0 {
        return Err(Outcome::GoroutineUnknown);
    }
    if leaves {
        if user == 0 {
            return Err(Outcome::Root);
        }
        registers.stack_pointer = stacks.saved_stack_pointer(go, memory)?;
        let place = user.wrapping_add(go.g_sched_pc as u64);
        let caller = memory.read_word(place).ok_or(Outcome::GoroutineUnknown)?;
        go_to(registers, caller, memory)?;
        registers.frame_pointer = Slot::saved_at(user.wrapping_add(go.g_sched_bp as u64));
        registers.interrupted = Registers::CALLED;
        if switch == StackSwitch::Grow as u16 {
            registers.link_register = saved_link_register::<A, M>(go, user, memory);
            return Ok(Some(Step::Replaced));
        }
        return Ok(Some(Step::Caller));
    }
    if user == 0 {
        return Err(Outcome::GoroutineUnknown);
    }
    // `systemstack`, and `asmcgocall` before it has called.
    registers.stack_pointer = stacks.saved_stack_pointer(go, memory)?;
    Ok(None)
}

/// The stack pointer in the frame of `racecall` that called the race detector. The rules of the frames below say where the register
/// was saved; if none of them saved it, it still holds what it held when the thread was interrupted.
#[inline(always)]
fn race_call_frame<A: Architecture, M: Memory>(
    registers: &Registers,
    memory: &mut M,
) -> Result<u64, Outcome> {
    let kept = if registers.base_register.is_value() {
        memory.interrupted_register(A::RACE_CALL_STACK_POINTER)
    } else {
        registers.base_register.load(memory).ok()
    };
    aligned(kept.ok_or(Outcome::RegisterUnavailable)?)
}

/// The link register that the user goroutine was left with; 0 for none.
#[inline(always)]
fn saved_link_register<A: Architecture, M: Memory>(
    go: &GoRuntime,
    user: u64,
    memory: &mut M,
) -> u64 {
    if !A::LINK_REGISTER || go.g_sched_lr == 0 {
        return 0;
    }
    let place = user.wrapping_add(go.g_sched_lr as u64);
    memory.read_word(place).unwrap_or(0)
}

#[inline(always)]
const fn aligned(stack_pointer: u64) -> Result<u64, Outcome> {
    if stack_pointer == 0 || stack_pointer & 7 != 0 {
        return Err(Outcome::GoroutineUnknown);
    }
    Ok(stack_pointer)
}

/// From the stack pointer of a frame with this rule to where its frame pointer points.
#[inline(always)]
fn frame_pointer_distance(rule: &Rule) -> u64 {
    i64::from(rule.cfa_offset).wrapping_add(i64::from(rule.frame_pointer_offset)) as u64
}

/// The stack pointer in the frame of `asmcgocall` that a C function was called from.
#[inline(always)]
fn foreign_call_frame<A: Architecture, M: Memory>(
    registers: &Registers,
    rule: &Rule,
    memory: &mut M,
) -> Result<u64, Outcome> {
    let place = at(registers.stack_pointer, rule.switch_offset);
    let goroutine = memory.read_word(place).ok_or(Outcome::MemoryUnreadable)?;
    let depth = memory
        .read_word(at(place, A::FOREIGN_CALL_DEPTH_FROM_GOROUTINE))
        .ok_or(Outcome::MemoryUnreadable)?;
    let frame = if goroutine == 0 {
        // It was on the scheduler's stack already, and left its stack pointer.
        depth
    } else {
        // `g.stack.hi`, at the same place in every version.
        let high = memory
            .read_word(goroutine.wrapping_add(8))
            .ok_or(Outcome::GoroutineUnknown)?;
        if depth > MAX_STACK_BYTES {
            return Err(Outcome::GoroutineUnknown);
        }
        high.wrapping_sub(depth)
    };
    aligned(frame)
}

#[inline(always)]
fn go_to<M: Memory>(registers: &mut Registers, pc: u64, memory: &M) -> Result<(), Outcome> {
    let pc = memory.address_mask().address(pc);
    if pc == 0 {
        return Err(Outcome::GoroutineUnknown);
    }
    registers.pc = pc;
    registers.base_register = Slot::lost();
    registers.link_register = 0;
    registers.called_leaf = 0;
    Ok(())
}
