//! The kernel side: entry points only.
//!
//! - `sample`: perf_event, once per sampling period and CPU.
//! - `sample_bounded`: the same for kernels that lack what it needs (`repeat`, `task`).
//! - `find_user_registers`: tp_btf, for a moment, what `sample_bounded` must know of the kernel's stacks.
//! - `process_fork`, `process_exec`, `process_exit`, `process_free`: tp_btf, keep the table of processes right between the kernel's
//!   event and the moment the agent has caught up with it.
#![no_std]
#![no_main]

mod context;
mod counters;
mod globals;
mod inner_map;
mod launder;
mod maps;
mod memory;
mod process;
mod registers;
mod repeat;
mod return_probe;
mod rules;
mod runtime;
mod sample;
mod snapshot;
mod task;
mod unwind;

use aya_ebpf::macros::{btf_tracepoint, perf_event};
use aya_ebpf::programs::{BtfTracePointContext, PerfEventContext};
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

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
