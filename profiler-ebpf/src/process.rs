//! Forks, execs and exits, at once.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::layout::Counter;

use crate::globals::{OFF_CPU_STAYS_HASHED, SELECT_CHILDREN};
use crate::maps::{EMPTY_PROCESS, PROCESSES, SELECTED};
use crate::off_cpu::stays::ByAddress;
use crate::purpose::Purpose;
use crate::task::Task;

/// The value of a selected process in `SELECTED`, and that of one whose last thread has ended.
const CHOSEN: u8 = 1;
const ENDING: u8 = 2;

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
            Purpose::ON_CPU.count(Counter::ProcessTableFull);
        }
    }
    if SELECT_CHILDREN.load() != 0 && SELECTED.get_ptr(parent).is_some() {
        if SELECTED.insert(child, CHOSEN, 0).is_err() {
            Purpose::ON_CPU.count(Counter::SelectionFull);
        }
    } else {
        // Somebody else had this pid.
        let _ = SELECTED.remove(child);
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
            Purpose::ON_CPU.count(Counter::ProcessTableFull);
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

/// `sched_process_exit(task, ..)`: no mappings are kept of a process whose last thread ends: it does not return to user
/// space. What the agent publishes after that it takes back itself, when it reads of the end. Some kernels say so before
/// the process's memory is freed, which is its work still: it stays selected.
#[inline(always)]
pub fn ended(context: &BtfTracePointContext) {
    let task = Task(context.arg::<*const u8>(0));
    if task.live_threads() != 0 {
        return;
    }
    let pid = task.process_id();
    // Most processes are in neither: that is no error.
    let _ = PROCESSES.remove(pid);
    if let Some(selected) = SELECTED.get_ptr_mut(pid) {
        // SAFETY: a live element.
        unsafe { *selected = ENDING };
    }
}

/// `sched_process_free(task)`: nobody samples it any more, once it is the main thread, which is the last to go: others are
/// freed while the last one still frees the memory. Its pid may be another process's already.
#[inline(always)]
pub fn freed(context: &BtfTracePointContext) {
    let task = Task(context.arg::<*const u8>(0));
    if OFF_CPU_STAYS_HASHED.load() != 0 {
        ByAddress::forget(task);
    }
    if !task.is_main_thread() {
        return;
    }
    let pid = task.process_id();
    // SAFETY: a live element.
    if SELECTED
        .get_ptr(pid)
        .is_some_and(|selected| unsafe { *selected } == ENDING)
    {
        let _ = SELECTED.remove(pid);
    }
}
