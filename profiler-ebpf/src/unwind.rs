//! Drives the pure unwinder over the kernel's maps: one `bpf_loop` iteration a frame.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_loop, bpf_probe_read_user};
use profiler_common::layout::process::NO_TABLE;
use profiler_common::layout::sample::MAX_USER_FRAMES;
use profiler_common::layout::{
    MappingEntry, ProcessEntry, RawFrame, RuntimeEntry, SampleFlags, TablePlace,
};
use profiler_common::unwind::table::{BLOCK_WORDS, BUCKET_BITS, Words, rule_index};
use profiler_common::unwind::{
    CfaKind, Memory, Outcome, Registers, Stacks, Step, cross, frame_pointer_step, step,
};

use crate::maps::{CHUNKS, RULES, SEGMENTS, Segment};
use crate::registers::{Machine, REGISTERS};
use crate::sample::{MAX_FRAMES, Scratch};

/// The pointers that the iterations share: on the stack, so that the verifier follows them. What
/// changes from frame to frame is in the scratch space: there it is unknown to the verifier, so that
/// one iteration is like the next.
#[repr(C)]
struct Walk {
    scratch: *mut Scratch,
    entry: *const ProcessEntry,
    runtime: *const RuntimeEntry,
}

/// Index of `Rule::NONE`.
const NO_INFORMATION: u16 = 0;
const CONTINUE: i64 = 0;
const STOP: i64 = 1;

/// Walks the user stack from `scratch.registers`, writes frames from `position` on, sets the
/// outcome; the position behind the last frame.
#[inline(always)]
pub fn walk(
    scratch: &mut Scratch,
    entry: Option<*const ProcessEntry>,
    runtime: Option<&'static RuntimeEntry>,
    position: u64,
) -> u64 {
    scratch.header.outcome = Outcome::Truncated as u8;
    let mut known = core::ptr::null();
    if let Some(entry) = entry {
        // SAFETY: a live element of the table of processes.
        unsafe {
            scratch.header.image = (*entry).image;
            if (*entry).state == ProcessEntry::KNOWN {
                known = entry;
            }
        }
    }
    if known.is_null() {
        scratch.header.flags |= SampleFlags::UNKNOWN_PROCESS;
    }
    scratch.position = position;
    scratch.found_by = RawFrame::INTERRUPTED;
    scratch.stacks = Stacks::of(scratch.goroutine);
    let mut walk = Walk {
        scratch,
        entry: known,
        runtime: runtime.map_or(core::ptr::null(), core::ptr::from_ref),
    };
    // SAFETY: the callback has the type that the helper calls, the context outlives the call.
    unsafe {
        bpf_loop(
            MAX_USER_FRAMES as u32,
            unwind_frame as *mut c_void,
            (&raw mut walk).cast(),
            0,
        );
    }
    // SAFETY: as above.
    unsafe { (*walk.scratch).position }
}

/// One frame: notes it, finds its rule, steps to its caller.
/// Its name is not mangled: a mangled one has a hash of where it was built.
#[unsafe(no_mangle)]
unsafe extern "C" fn unwind_frame(_index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `walk` passes its own `Walk`, whose pointers are live map elements.
    let (entry, runtime, scratch) =
        unsafe { ((*walk).entry, (*walk).runtime.as_ref(), &mut *(*walk).scratch) };
    let position = scratch.position as usize;
    if position >= MAX_FRAMES {
        return STOP;
    }
    scratch.frames[position] = RawFrame::new(scratch.registers.pc, scratch.found_by).0;
    scratch.position = position as u64 + 1;

    let called = (scratch.registers.interrupted == Registers::CALLED) as u64;
    let pc = scratch.registers.pc - called;
    let general = &scratch.general;
    let mut memory = UserMemory { general };
    let (found, missing) = find_rule(entry, &mut scratch.mapping, &raw mut scratch.cell, pc);
    let stepped = match found {
        Some(index) => {
            let Some(rule) = RULES.get(u32::from(index)) else {
                scratch.header.outcome = Outcome::TableCorrupt as u8;
                return STOP;
            };
            if rule.cfa == CfaKind::None as u8 {
                scratch.found_by = RawFrame::BY_FRAME_POINTER;
                frame_pointer_step::<Machine, _>(
                    &mut scratch.registers,
                    Outcome::NoRule,
                    &mut memory,
                )
            } else {
                scratch.found_by = 0;
                let (registers, stacks) = (&mut scratch.registers, &mut scratch.stacks);
                match cross::<Machine, _>(registers, rule, stacks, runtime, &mut memory) {
                    None => step::<Machine, _>(registers, rule, &mut memory),
                    Some(step) => step,
                }
            }
        }
        None => {
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
            CONTINUE
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
            STOP
        }
    }
}

/// The index of the rule for `pc`, or why there is none.
#[inline(always)]
fn find_rule(
    entry: *const ProcessEntry,
    mapping: &mut MappingEntry,
    cell: *mut u32,
    pc: u64,
) -> (Option<u16>, Outcome) {
    if pc < mapping.start || pc >= mapping.end {
        if entry.is_null() {
            return (None, Outcome::TablePending);
        }
        // SAFETY: a live element of the table of processes.
        let entry = unsafe { &*entry };
        let Some(slot) = entry.table.chunk_of(pc, |index| forgotten(cell, index)) else {
            return (None, Outcome::UnknownCode);
        };
        let Some(chunk) = CHUNKS.get(slot) else {
            return (None, Outcome::UnknownCode);
        };
        let Some(found) = chunk.mapping_of(pc, |index| forgotten(cell, index)) else {
            return (None, Outcome::UnknownCode);
        };
        // Field by field: a copy of the whole would be a loop over its bytes.
        mapping.start = found.start;
        mapping.end = found.end;
        mapping.bias = found.bias;
        mapping.table = found.table;
        mapping.buckets = found.buckets;
    }
    if mapping.table == NO_TABLE {
        return (None, Outcome::TablePending);
    }
    let offset = pc.wrapping_add(mapping.bias);
    if offset >> BUCKET_BITS >= u64::from(mapping.buckets) {
        // The file has no information for this part of it, or none at all.
        return (Some(NO_INFORMATION), Outcome::NoRule);
    }
    let place = TablePlace(mapping.table);
    let Some(segment) = SEGMENTS.get(place.segment()) else {
        return (None, Outcome::TablePending);
    };
    let table = KernelTable {
        segment,
        first: place.block(),
        cell,
    };
    (
        rule_index(&table, mapping.buckets, offset),
        Outcome::TableCorrupt,
    )
}

/// A table in its segment.
struct KernelTable<'a> {
    segment: &'a Segment,
    first: u32,
    /// See [`forgotten`].
    cell: *mut u32,
}

impl Words for KernelTable<'_> {
    #[inline(always)]
    fn word(&self, index: u32) -> Option<u32> {
        let index = forgotten(self.cell, index);
        let block = self.segment.get(self.first + index / BLOCK_WORDS as u32)?;
        Some(block.0[index as usize % BLOCK_WORDS])
    }
}

/// `value`, of which the verifier forgets where it came from. Used as an index it would make the
/// verifier remember each path of the search that led to it; read back from map memory it is any
/// number, and all paths are one.
#[inline(always)]
fn forgotten(cell: *mut u32, value: u32) -> u32 {
    // SAFETY: points into this CPU's scratch space.
    unsafe {
        cell.write_volatile(value);
        cell.read_volatile()
    }
}

/// The memory and registers of the interrupted task.
pub struct UserMemory<'a> {
    /// General registers of the interrupted frame, by DWARF number.
    pub general: &'a [u64; REGISTERS],
}

impl Memory for UserMemory<'_> {
    #[inline(always)]
    fn read_word(&mut self, address: u64) -> Option<u64> {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user(address as *const u64).ok() }
    }
    #[inline(always)]
    fn interrupted_register(&mut self, number: u8) -> Option<u64> {
        self.general.get(usize::from(number)).copied()
    }
}
