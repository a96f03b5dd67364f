//! What the interrupted thread's language runtime says of it.

use profiler_common::layout::{ProcessEntry, RuntimeEntry};
use profiler_common::unwind::Goroutine;

use crate::maps::RUNTIMES;
use crate::memory::UserMemory;
use crate::registers::REGISTERS;

/// Index of what is known of the runtime of the process with this entry; 0: nothing.
#[inline(always)]
pub fn index(entry: Option<*const ProcessEntry>) -> u32 {
    // SAFETY: a live element of the table of processes.
    entry.map_or(0, |entry| unsafe { (*entry).runtime })
}

/// What is known at `index`.
#[inline(always)]
pub fn of(index: u32) -> Option<&'static RuntimeEntry> {
    if index == 0 {
        return None;
    }
    RUNTIMES.get(index)
}

/// What the thread works for; nothing where the process has no Go in it.
#[inline(always)]
pub fn goroutine(
    runtime: Option<&'static RuntimeEntry>,
    thread_pointer: u64,
    general: &[u64; REGISTERS],
) -> Goroutine {
    let Some(entry) = runtime else {
        return Goroutine::default();
    };
    Goroutine::find(entry, thread_pointer, &mut UserMemory { general })
}
