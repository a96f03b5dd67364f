//! Forks and execs, at once.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::layout::Counter;

use crate::counters::count;
use crate::globals::SELECT_CHILDREN;
use crate::maps::{EMPTY_PROCESS, PROCESSES, SELECTED};
use crate::task::Task;

/// `sched_process_fork(parent, child)`: a child process has its parent's mappings (until the agent
/// gives it its own) and its selection.
#[inline(always)]
pub fn forked(context: &BtfTracePointContext) {
    let parent = Task(context.arg::<*const u8>(0)).process_id();
    let child = Task(context.arg::<*const u8>(1)).process_id();
    if parent == child {
        return;
    }
    if let Some(entry) = PROCESSES.get_ptr(parent) {
        // SAFETY: the pointer is to a live element; a replaced element stays valid until the
        // program ends (RCU).
        let entry = unsafe { &*entry };
        if PROCESSES.insert(child, entry, 0).is_err() {
            count(Counter::ProcessTableFull);
        }
    }
    if SELECT_CHILDREN.load() != 0
        && SELECTED.get_ptr(parent).is_some()
        && SELECTED.insert(child, 1, 0).is_err()
    {
        count(Counter::SelectionFull);
    }
}

/// `sched_process_exec(task, old pid, binary)`: the image's mappings are gone.
#[inline(always)]
pub fn executed(context: &BtfTracePointContext) {
    let pid = context.tgid();
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if PROCESSES.get_ptr(pid).is_none() {
        let Some(empty) = EMPTY_PROCESS.get(0) else {
            return;
        };
        if PROCESSES.insert(pid, empty, 0).is_err() {
            count(Counter::ProcessTableFull);
            return;
        }
    }
    if let Some(entry) = PROCESSES.get_ptr_mut(pid) {
        // SAFETY: the pointer is to a live element. An exec leaves one thread: nobody else of this
        // process reads it now.
        unsafe {
            (*entry).chunks = 0;
            (*entry).runtime = 0;
            (*entry).state = 0;
            (*entry).image = now;
        }
    }
}
