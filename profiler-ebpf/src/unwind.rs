//! Drives the pure unwinder over the kernel's maps, a frame at a time.

use profiler_common::layout::{MappingEntry, ProcessEntry, RawFrame, SampleFlags};
use profiler_common::unwind::{
    CfaKind, Memory as _, Outcome, Registers, StackSwitch, Stacks, Step, cross, frame_pointer_step,
    step,
};

use crate::maps::RULES;
use crate::memory::UserMemory;
use crate::purpose::Purpose;
use crate::registers::Machine;
use crate::repeat::{Next, Repeat};
use crate::return_probe::probed_return_alone;
use crate::rules::{ProcessImage, find_rule};
use crate::runtime;
use crate::sample::{MAX_FRAMES, Scratch};

/// Walks the user stack from `scratch.registers`, writes frames from `position` on, sets the
/// outcome; the position behind the last frame.
#[inline(always)]
pub fn walk<R: Repeat>(
    scratch: &mut Scratch,
    purpose: Purpose,
    entry: Option<*const ProcessEntry>,
    position: u64,
) -> u64 {
    scratch.header.outcome = Outcome::Truncated as u8;
    let mut known = false;
    if let Some(entry) = entry {
        // SAFETY: a live element of the table of processes.
        unsafe {
            scratch.header.image = (*entry).image;
            known = (*entry).state == ProcessEntry::KNOWN;
        }
    }
    if !known {
        scratch.header.flags |= SampleFlags::UNKNOWN_PROCESS;
    }
    scratch.position = position;
    scratch.found_by = RawFrame::INTERRUPTED;
    scratch.guessed = 0;
    scratch.stacks = Stacks::of(scratch.goroutine);
    scratch.mapping = MappingEntry::default();
    R::unwind(purpose);
    scratch.position
}

/// One frame: notes it, finds its rule, steps to its caller.
#[inline(always)]
pub fn frame(scratch: &mut Scratch, purpose: Purpose) -> Next {
    let position = scratch.position as usize;
    if position >= MAX_FRAMES {
        return Next::Stop;
    }
    scratch.frames[position] = RawFrame::new(scratch.registers.pc, scratch.found_by).0;
    scratch.position = position as u64 + 1;

    let called = (scratch.registers.interrupted == Registers::CALLED) as u64;
    let pc = scratch.registers.pc - called;
    let image = ProcessImage {
        pid: scratch.header.pid,
        image: scratch.header.image,
    };
    let cell = &raw mut scratch.cell;
    let (found, missing) = find_rule(image, &mut scratch.mapping, cell, pc);
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    let stepped = match found {
        Some(index) => {
            let Some(rule) = RULES.get(u32::from(index)) else {
                scratch.header.outcome = Outcome::TableCorrupt as u8;
                return Next::Stop;
            };
            if rule.is_trampoline() {
                scratch.frames[position] |= RawFrame::INTERRUPTED;
            }
            if rule.cfa == CfaKind::None as u8 {
                scratch.found_by = RawFrame::BY_FRAME_POINTER;
                scratch.guessed = 1;
                frame_pointer_step::<Machine, _>(
                    &mut scratch.registers,
                    Outcome::NoRule,
                    &mut memory,
                )
            } else {
                scratch.found_by = 0;
                scratch.guessed = 0;
                let runtime = if rule.switch == StackSwitch::None as u16 {
                    None
                } else {
                    runtime::of(scratch.runtime)
                };
                let (registers, stacks) = (&mut scratch.registers, &mut scratch.stacks);
                match cross::<Machine, _>(registers, rule, stacks, runtime, &mut memory) {
                    None => step::<Machine, _>(registers, rule, &mut memory),
                    Some(step) => step,
                }
            }
        }
        None => {
            if missing == Outcome::UnknownCode {
                let address = probed_return_alone(purpose.0);
                if address != 0 {
                    scratch.frames[position] |= RawFrame::RETURN_PROBE;
                    scratch.registers.pc = memory.address_mask().address(address);
                    scratch.registers.interrupted = Registers::CALLED;
                    scratch.found_by = 0;
                    scratch.guessed = 0;
                    return Next::Continue;
                }
            }
            if missing == Outcome::UnknownCode && scratch.guessed != 0 {
                scratch.position = position as u64;
                scratch.header.outcome = Outcome::NoRule as u8;
                return Next::Stop;
            }
            scratch.guessed = 0;
            if missing == Outcome::TablePending {
                scratch.header.flags |= SampleFlags::TABLE_PENDING;
            }
            scratch.found_by = RawFrame::BY_FRAME_POINTER;
            frame_pointer_step::<Machine, _>(&mut scratch.registers, missing, &mut memory)
        }
    };
    match stepped {
        Step::Caller | Step::Replaced => {
            if let Step::Replaced = stepped {
                scratch.position = position as u64;
            }
            if scratch.registers.interrupted != Registers::CALLED {
                scratch.found_by |= RawFrame::INTERRUPTED;
            }
            Next::Continue
        }
        Step::End(outcome) => {
            // What a missing table led astray is its fault, not that of where it ended.
            let astray = scratch.header.flags & SampleFlags::TABLE_PENDING != 0;
            let outcome = if astray && outcome as u8 != Outcome::Root as u8 {
                Outcome::TablePending
            } else {
                outcome
            };
            scratch.header.outcome = outcome as u8;
            Next::Stop
        }
    }
}
