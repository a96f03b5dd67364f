//! The kernel side: entry points only.
//!
//! - `sample`: perf_event, once per sampling period and CPU.
//! - `sample_bounded`: the same for kernels that lack what it needs (`repeat`, `task`).
//! - `find_user_registers`: tp_btf, for a moment, what `sample_bounded` must know of the kernel's stacks.
//! - `process_fork`, `process_exec`, `process_exit`, `process_free`: tp_btf, keep the table of processes right between the kernel's
//!   event and the moment the agent has caught up with it.
//! - `off_switch`, `off_wakeup` and `off_..._hash`: tp_btf, note when threads leave their CPU and which stay off it is recorded.
//! - `off_resume`, `off_entry`, `off_probe` and `off_..._bounded`: take the stack of a thread whose stay is, once it runs again.
#![no_std]
#![no_main]

mod context;
mod globals;
mod inner_map;
mod launder;
mod maps;
mod memory;
mod off_cpu;
mod process;
mod purpose;
mod registers;
mod repeat;
mod return_probe;
mod rules;
mod runtime;
mod sample;
mod snapshot;
mod task;
mod unwind;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::{btf_tracepoint, fentry, kprobe, perf_event};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, PerfEventContext, ProbeContext};
use off_cpu::stays::{ByAddress, InTask};
use repeat::{Bounded, ByHelper};
use task::{KnownTask, TaskAddress};

/// Takes one sample of the current task.
#[perf_event]
pub fn sample(context: PerfEventContext) -> u32 {
    sample::take::<KnownTask, ByHelper>(&context);
    0
}

/// Takes one sample of the current task, with what every supported kernel has.
#[perf_event]
pub fn sample_bounded(context: PerfEventContext) -> u32 {
    sample::take::<TaskAddress, Bounded>(&context);
    0
}

/// A system call begins: only while the agent finds out where tasks keep their user registers.
#[btf_tracepoint(function = "sys_enter")]
pub fn find_user_registers(context: BtfTracePointContext) -> i32 {
    task::find_user_registers(&context);
    0
}

/// A process or thread was created.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(context: BtfTracePointContext) -> i32 {
    process::forked(&context);
    0
}

/// A process started a new image.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(context: BtfTracePointContext) -> i32 {
    process::executed(&context);
    0
}

/// A thread ends.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(context: BtfTracePointContext) -> i32 {
    process::ended(&context);
    0
}

/// A thread that ended is no more.
#[btf_tracepoint(function = "sched_process_free")]
pub fn process_free(context: BtfTracePointContext) -> i32 {
    process::freed(&context);
    0
}

/// A CPU switches from one thread to another.
#[btf_tracepoint(function = "sched_switch")]
pub fn off_switch(context: BtfTracePointContext) -> i32 {
    off_cpu::switched::<InTask>(&context);
    0
}

/// The same for kernels that keep nothing with their tasks.
#[btf_tracepoint(function = "sched_switch")]
pub fn off_switch_hash(context: BtfTracePointContext) -> i32 {
    off_cpu::switched::<ByAddress>(&context);
    0
}

/// A thread was woken: only where the kernel does not keep how long threads wait for a CPU.
#[btf_tracepoint(function = "sched_wakeup")]
pub fn off_wakeup(context: BtfTracePointContext) -> i32 {
    off_cpu::woken::<InTask>(&context);
    0
}

/// The same for kernels that keep nothing with their tasks.
#[btf_tracepoint(function = "sched_wakeup")]
pub fn off_wakeup_hash(context: BtfTracePointContext) -> i32 {
    off_cpu::woken::<ByAddress>(&context);
    0
}

/// The scheduler is done; its first argument says whether it has switched.
#[btf_tracepoint(function = "sched_exit_tp")]
pub fn off_resume(context: BtfTracePointContext) -> i32 {
    if context.arg::<u64>(0) != 0 {
        off_cpu::resumed::<KnownTask, ByHelper>(context.as_ptr());
    }
    0
}

/// The same with what every supported kernel has.
#[btf_tracepoint(function = "sched_exit_tp")]
pub fn off_resume_bounded(context: BtfTracePointContext) -> i32 {
    if context.arg::<u64>(0) != 0 {
        off_cpu::resumed::<TaskAddress, Bounded>(context.as_ptr());
    }
    0
}

/// A thread runs again.
#[fentry(function = "finish_task_switch")]
pub fn off_entry(context: FEntryContext) -> i32 {
    off_cpu::resumed::<KnownTask, ByHelper>(context.as_ptr());
    0
}

/// The same with what every supported kernel has.
#[fentry(function = "finish_task_switch")]
pub fn off_entry_bounded(context: FEntryContext) -> i32 {
    off_cpu::resumed::<TaskAddress, Bounded>(context.as_ptr());
    0
}

/// A thread runs again.
#[kprobe]
pub fn off_probe(context: ProbeContext) -> u32 {
    off_cpu::resumed::<KnownTask, ByHelper>(context.as_ptr());
    0
}

/// The same with what every supported kernel has.
#[kprobe]
pub fn off_probe_bounded(context: ProbeContext) -> u32 {
    off_cpu::resumed::<TaskAddress, Bounded>(context.as_ptr());
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As the kernel knows it (`include/linux/license.h`): of the licenses that these programs are under, it is the one by which they may call
/// its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 7] = *b"GPL v2\0";
