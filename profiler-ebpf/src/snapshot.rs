//! The top of a stack that could not be walked here, because a table is missing: the agent walks it.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_ringbuf_output, bpf_ringbuf_query};
use profiler_common::layout::SnapshotHeader;
use profiler_common::layout::snapshot::{
    GOROUTINE_MACHINE, GOROUTINE_SAVED_STACK_POINTER, GOROUTINE_STACK_END, GOROUTINE_WORDS,
    GoThread, MACHINE_USER, MAX_RECORDS, MAX_STACK_BYTES, PIECE_BYTES, RECORD_SNAPSHOT,
};
use profiler_common::unwind::Architecture as _;

use crate::globals::RING_WAKE_BYTES;
use crate::launder::Cell;
use crate::maps::RINGS;
use crate::memory;
use crate::purpose::Purpose;
use crate::registers::{self, Machine, REGISTERS, STACK_POINTER};
use crate::sample::{AVAILABLE_DATA, NO_WAKEUP};

/// Pieces that fill a snapshot, if the first is short.
const PIECES: usize = MAX_STACK_BYTES / PIECE_BYTES + 1;

/// Sends the top of the stack of the sample in the scratch space to this CPU's ring. Where it cannot, the sample has the
/// stack that was walked here. The verifier looks at it once and alone, not behind each way to the end of a walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn submit_snapshot_alone(purpose: u32) -> u32 {
    let purpose = Purpose(purpose);
    let (Some(scratch), Some(snapshot)) = (purpose.scratch(), purpose.snapshot()) else {
        return 0;
    };
    // SAFETY: this CPU's elements, which the program of this purpose alone uses; the kernel does not nest it on a CPU.
    let (scratch, header) = unsafe { (&mut *scratch, &mut (*snapshot).header) };
    let Some(ring) = RINGS.get(scratch.header.cpu) else {
        return 0;
    };
    let ring: *mut c_void = core::ptr::from_ref(ring).cast_mut().cast();
    header.time = scratch.header.time;
    header.tid = scratch.header.tid;
    // The walk has moved on from the registers that it began with; the general ones are as they were.
    header.pc = registers::pc(&raw const scratch.user);
    let stack_pointer = scratch.general[STACK_POINTER];
    header.start = stack_pointer.wrapping_sub(BELOW) & !7;
    go_thread_alone(purpose.0);
    header.goroutine = scratch.goroutine;
    header.kind = RECORD_SNAPSHOT;
    let mut number = 0;
    while number < REGISTERS {
        header.general[number] = scratch.general[number];
        number += 1;
    }
    for _ in 0..MAX_RECORDS {
        // Only where there is room for it: it must not cost samples theirs.
        // SAFETY: `ring` is a ring buffer map.
        if unsafe { bpf_ringbuf_query(ring, AVAILABLE_DATA) } > RING_WAKE_BYTES.load() {
            return 0;
        }
        let copied = copy_stack_alone(purpose.0);
        if copied == 0 && scratch.user_stack == 0 {
            return 0;
        }
        // The compiler would make one comparison of both, of another number than the one that is used.
        // SAFETY: the cell is this CPU's.
        let stack = unsafe { Cell::launder(&raw mut scratch.cell, u64::from(copied)) };
        if stack > (MAX_STACK_BYTES + PIECE_BYTES) as u64 {
            return 0;
        }
        let bytes = size_of::<SnapshotHeader>() as u64 + stack;
        // SAFETY: `ring` is a ring buffer map; a snapshot is at least this long.
        let result = unsafe { bpf_ringbuf_output(ring, snapshot.cast(), bytes, NO_WAKEUP) };
        if result != 0 {
            return 0;
        }
        if stack >= MAX_STACK_BYTES as u64 {
            header.start = header.start.wrapping_add(stack);
        } else if scratch.user_stack != 0 {
            header.start = scratch.user_stack;
            scratch.stack_end = header.go.user.words[GOROUTINE_STACK_END];
            scratch.user_stack = 0;
        } else {
            return 0;
        }
    }
    0
}

/// Notes what the thread has of Go, where the stack ends that it is on, and where its user goroutine's stack begins that it left
/// for another one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn go_thread_alone(purpose: u32) -> u32 {
    let purpose = Purpose(purpose);
    let (Some(scratch), Some(snapshot)) = (purpose.scratch(), purpose.snapshot()) else {
        return 0;
    };
    // SAFETY: this CPU's elements, which the program of this purpose alone uses.
    let (scratch, go) = unsafe { (&mut *scratch, &mut (*snapshot).header.go) };
    scratch.stack_end = u64::MAX;
    scratch.user_stack = 0;
    *go = GoThread::default();
    go.thread_pointer = scratch.thread_pointer;
    go.machine = scratch.goroutine.machine;
    go.user.address = scratch.goroutine.user;
    if scratch.runtime == 0 {
        go.running = registers::go_running(&scratch.general, go.thread_pointer);
        go.machine = memory::word_or_zero(go.running.wrapping_add(GOROUTINE_MACHINE));
        for offset in MACHINE_USER {
            let found = memory::word_or_zero(go.machine.wrapping_add(offset));
            if go.machine != 0
                && go.user.address == 0
                && memory::word_or_zero(found.wrapping_add(GOROUTINE_MACHINE)) == go.machine
            {
                go.user.address = found;
                go.user_offset = offset;
            }
        }
    }
    // Read back: the verifier goes on once, wherever it was found.
    // SAFETY: the cell is this CPU's.
    let user = unsafe { Cell::launder(&raw mut scratch.cell, go.user.address) };
    if user == 0 {
        return 0;
    }
    go.scheduler.address = memory::word_or_zero(go.machine);
    // SAFETY: as many bytes as the words have.
    unsafe {
        let scheduler = go.scheduler.address;
        memory::copy(go.scheduler.words.as_mut_ptr(), GOROUTINE_BYTES, scheduler);
        memory::copy(go.user.words.as_mut_ptr(), GOROUTINE_BYTES, user);
    }
    let words = &go.user.words;
    let (low, high) = (words[0], words[GOROUTINE_STACK_END]);
    let saved = words[GOROUTINE_SAVED_STACK_POINTER];
    let stack_pointer = scratch.general[STACK_POINTER];
    if low <= stack_pointer && stack_pointer <= high {
        scratch.stack_end = high;
    } else if low <= saved && saved <= high {
        // Where `asmcgocall` was left tells another word, which is a little below at most. What lies below the stack is not walked.
        scratch.user_stack = saved.wrapping_sub(BESIDE_SAVED) & !7;
    }
    0
}

const GOROUTINE_BYTES: u64 = 8 * GOROUTINE_WORDS as u64;

/// How far below the stack pointer that a goroutine was left with its stack is copied, in bytes.
const BESIDE_SAVED: u64 = 64;

/// What a rule may ask for below the stack pointer: on machines with a link register Go's frame records begin there.
const BELOW: u64 = if Machine::LINK_REGISTER { 16 } else { 0 };

/// Copies the stack page by page, until one is not there or the room is used up; the bytes that were copied.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_stack_alone(purpose: u32) -> u32 {
    let purpose = Purpose(purpose);
    let (Some(scratch), Some(snapshot)) = (purpose.scratch(), purpose.snapshot()) else {
        return 0;
    };
    // SAFETY: this CPU's elements, which the program of this purpose alone uses.
    let (cell, end, header, stack) = unsafe {
        (
            &raw mut (*scratch).cell,
            (*scratch).stack_end,
            &mut (*snapshot).header,
            (&raw mut (*snapshot).stack).cast::<u8>(),
        )
    };
    let mut copied = 0;
    for _ in 0..PIECES {
        // SAFETY: the cell is this CPU's.
        let at = unsafe { Cell::launder(cell, copied) };
        if at >= MAX_STACK_BYTES as u64 {
            break;
        }
        let from = header.start.wrapping_add(at);
        if from >= end {
            break;
        }
        let piece = PIECE_BYTES as u64 - (from & (PIECE_BYTES as u64 - 1));
        // SAFETY: a piece that begins before MAX_STACK_BYTES fits.
        if !unsafe { memory::copy(stack.add(at as usize).cast(), piece, from) } {
            break;
        }
        copied = at + piece;
    }
    header.bytes = copied as u32;
    copied as u32
}
