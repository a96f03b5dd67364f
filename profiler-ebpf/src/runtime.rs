//! What the interrupted thread's language runtime says of it.

use profiler_common::layout::{ProcessEntry, RuntimeEntry};
use profiler_common::unwind::Goroutine;

use crate::maps::RUNTIMES;
use crate::registers::REGISTERS;
use crate::task::Task;
use crate::unwind::UserMemory;

/// What is known of the runtime of the process with this entry.
#[inline(always)]
pub fn of(entry: Option<*const ProcessEntry>) -> Option<&'static RuntimeEntry> {
    // SAFETY: a live element of the table of processes.
    let index = unsafe { (*entry?).runtime };
    if index == 0 {
        return None;
    }
    RUNTIMES.get(index)
}

/// What the thread works for; nothing where the process has no Go in it.
#[inline(always)]
pub fn goroutine(
    runtime: Option<&'static RuntimeEntry>,
    task: Task,
    general: &[u64; REGISTERS],
) -> Goroutine {
    let Some(entry) = runtime else {
        return Goroutine::default();
    };
    Goroutine::find(entry, task.thread_pointer(), &mut UserMemory { general })
}
