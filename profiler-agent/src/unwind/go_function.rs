//! What is special about functions of Go's runtime, by their names (1.21 to 1.27; what
//! `runtime/asm_*.s` and `runtime/sys_linux_*.s` say).

use std::ops::Range;

use profiler_common::unwind::{Rule, StackSwitch};

use super::base_register::BaseRegister;
use super::deltas::{self, Deltas, Shape};
use super::elf::Machine;
use super::supplement::Supplement;
use super::trampoline;
use crate::go::Function;

/// The function that calls C.
pub(super) const FOREIGN_CALL: &[u8] = b"runtime.asmcgocall";
/// The function that calls the race detector.
pub(super) const RACE_CALL: &[u8] = b"racecall";
/// The function that runs another one on the scheduler's stack.
pub(super) const SYSTEM_STACK: &[u8] = b"runtime.systemstack";

/// Bytes of a function's name that are looked at: all that are special have fewer.
const MAX_NAME: usize = 64;
/// Ranges of a function's deltas that are looked at for a frame: what writes the stack pointer makes it at once.
const MAX_RANGES: usize = 256;

/// `mov %rdi, offset(%rsp)`, up to the offset.
const X86_64_STORE: [u8; 4] = [0x48, 0x89, 0x7c, 0x24];
/// `str x4, [sp]`.
const AARCH64_STORE: [u8; 4] = [0xe4, 0x03, 0x00, 0xf9];

/// Where the code of `asmcgocall` leaves the goroutine, from the stack pointer on. On x86_64 that
/// is 48 up to Go 1.21 and 8 from 1.22 on.
pub(super) fn foreign_call_goroutine(machine: Machine, code: &[u8]) -> Option<i32> {
    match machine {
        Machine::X86_64 => code
            .windows(5)
            .find(|window| window.starts_with(&X86_64_STORE))
            .map(|window| i32::from(window[4]))
            .filter(|offset| *offset >= 8 && offset % 8 == 0),
        Machine::Aarch64 => code.as_chunks().0.contains(&AARCH64_STORE).then_some(0),
    }
}

/// The end of `systemstack` on aarch64, where it goes on in the function it was given: `ldr x30, [sp], #16;
/// sub x29, sp, #8; br x3`.
const AARCH64_GIVEN_UP: [[u8; 4]; 3] = [
    [0xfe, 0x07, 0x41, 0xf8],
    [0xfd, 0x23, 0x00, 0xd1],
    [0x60, 0x00, 0x1f, 0xd6],
];

/// What the line table does not say of `systemstack` with this `code` at `start`: that its frame is gone behind the
/// instruction that gives it up.
pub(super) fn given_up(machine: Machine, code: &[u8], start: u64) -> Option<Supplement> {
    if machine == Machine::X86_64 {
        return None;
    }
    let words = code.as_chunks::<4>().0;
    let at = words
        .windows(AARCH64_GIVEN_UP.len())
        .position(|window| *window == AARCH64_GIVEN_UP)?;
    Some(Supplement {
        address: start.checked_add(4 * (at as u64 + 1))?,
        length: 8,
        rule: deltas::plain(machine, 0, 0),
    })
}

/// `mov %rsp, %r12`, and back.
const X86_64_KEPT: [u8; 3] = [0x49, 0x89, 0xe4];
const X86_64_TAKEN_BACK: [u8; 3] = [0x4c, 0x89, 0xe4];

/// Where `racecall` with this `code` at `start` keeps its stack pointer in a register: behind the first of these instructions, up
/// to the second; and what is behind that. On aarch64 it keeps its return address in one as well: there its callers are not found.
pub(super) fn race_call(machine: Machine, code: &[u8], start: u64) -> Option<[Supplement; 2]> {
    if machine == Machine::Aarch64 {
        return None;
    }
    let find = |wanted: [u8; 3]| code.windows(3).position(|window| window == wanted);
    let from = find(X86_64_KEPT)?.checked_add(X86_64_KEPT.len())?;
    let last = find(X86_64_TAKEN_BACK).filter(|last| from <= *last)?;
    let plain = deltas::plain(machine, 0, 0);
    let kept = Rule {
        switch: StackSwitch::RaceCall as u16,
        ..plain
    };
    let part = |range: Range<usize>, rule| {
        Some(Supplement {
            address: start.checked_add(range.start as u64)?,
            length: u32::try_from(range.len()).ok()?,
            rule,
        })
    };
    Some([
        part(from..last + 1, kept)?,
        part(last + 1..code.len(), plain)?,
    ])
}

/// Go's functions on a machine.
pub(super) struct GoFunctions {
    machine: Machine,
    base_register: BaseRegister,
    /// Where `asmcgocall` leaves the goroutine.
    goroutine: Option<i32>,
}

impl GoFunctions {
    pub(super) const fn new(
        machine: Machine,
        base_register: BaseRegister,
        goroutine: Option<i32>,
    ) -> Self {
        Self {
            machine,
            base_register,
            goroutine,
        }
    }

    /// The rules of a function.
    pub(super) fn deltas<'data>(&self, function: &Function<'data>) -> Deltas<'data> {
        let shape = self.shape(function);
        Deltas::new(
            self.machine,
            self.base_register,
            shape,
            function.stack_deltas(),
        )
    }

    /// The rules of a function that signal handlers return to. They hold from one byte before: no call
    /// precedes the function's address where that is a return address.
    pub(super) fn trampoline(&self, function: &Function<'_>) -> Option<[Supplement; 2]> {
        if !function.is_named(b"runtime.sigreturn__sigaction") {
            return None;
        }
        let (start, end) = (function.entry().0, function.end().0);
        let rule = trampoline::rule(self.machine, self.base_register);
        let before = Supplement {
            address: start.checked_sub(1)?,
            length: 1,
            rule,
        };
        let function = Supplement {
            address: start,
            length: u32::try_from(end - start).ok()?,
            rule,
        };
        Some([before, function])
    }

    fn shape(&self, function: &Function<'_>) -> Shape {
        let flags = function.flags();
        let name = function.short_name(MAX_NAME).unwrap_or_default();
        // A Go function of the same name as one in assembly is a wrapper that calls it.
        let shape = if flags.assembly() {
            self.assembly(name)
        } else {
            compiled(name)
        };
        match shape {
            Some(shape) => shape,
            None if flags.top_frame() => Shape::Root,
            None if flags.writes_stack_pointer() => {
                let framed = |value: Result<_, _>| value.is_ok_and(|(_, delta)| delta > 0);
                if function.stack_deltas().take(MAX_RANGES).any(framed) {
                    Shape::FramedSwitch(StackSwitch::FramePointer, 0)
                } else {
                    Shape::Unknown
                }
            }
            None => Shape::Plain,
        }
    }

    fn assembly(&self, name: &[u8]) -> Option<Shape> {
        Some(match name {
            b"runtime.goexit" | b"runtime.mstart" | b"runtime.rt0_go" | b"_rt0_amd64"
            | b"_rt0_amd64_linux" | b"_rt0_arm64" | b"_rt0_arm64_linux" => Shape::Root,
            SYSTEM_STACK => Shape::FramedSwitch(StackSwitch::SystemStack, 0),
            FOREIGN_CALL => match self.goroutine {
                Some(offset) => Shape::FramedSwitch(StackSwitch::ForeignCall, offset),
                // Wrong only where the goroutine's stack was moved during the call.
                None => Shape::FramedSwitch(StackSwitch::FramePointer, 0),
            },
            b"runtime.mcall" => Shape::Switch(StackSwitch::Call, 0),
            b"runtime.morestack" => Shape::Switch(StackSwitch::Grow, 0),
            b"gogo" | b"runtime.gogo" => Shape::Switch(StackSwitch::Resume, 0),
            b"runtime.cgocallback" => {
                let saved = match self.machine {
                    Machine::X86_64 => 0,
                    Machine::Aarch64 => 16,
                };
                Shape::Switch(StackSwitch::Callback, saved)
            }
            b"runtime.sigtramp" | b"runtime.sigprofNonGoWrapper"
                if self.machine == Machine::Aarch64 =>
            {
                Shape::SavesBaseRegister(32)
            }
            b"_rt0_arm64_lib" => Shape::SavesBaseRegister(24),
            b"crosscall2" | b"runtime.sigtramp" | b"_rt0_amd64_lib" => Shape::SavesForeignRegisters,
            b"runtime.sigprofNonGoWrapper" | b"runtime.racecallbackthunk" => {
                Shape::SavesForeignRegisters
            }
            // What it jumps to is called as it is.
            b"runtime.morestack_noctxt" if self.machine == Machine::Aarch64 => {
                Shape::Switch(StackSwitch::Grow, 0)
            }
            b"runtime.asyncPreempt" | b"runtime.debugCallV2" => Shape::Injected,
            // They write the stack pointer of a new thread, and none of their own.
            b"runtime.clone" | b"runtime.morestack_noctxt" => Shape::Plain,
            // `race_call` says what it does to the stack pointer.
            RACE_CALL if self.base_register == BaseRegister::R12 => Shape::Plain,
            _ => return None,
        })
    }
}

fn compiled(name: &[u8]) -> Option<Shape> {
    match name {
        b"runtime.schedule" => Some(Shape::Switch(StackSwitch::Schedule, 0)),
        b"runtime.sigpanic" => Some(Shape::Injected),
        _ => None,
    }
}
