//! The kernel side: entry points only.
//!
//! - `sample`: perf_event, once per sampling period and CPU.
//! - `process_fork`, `process_exec`: tp_btf, keep the table of processes right between the kernel's
//!   event and the moment the agent has caught up with it.
#![no_std]
#![no_main]

mod context;
mod counters;
mod globals;
mod maps;
mod process;
mod registers;
mod runtime;
mod sample;
mod task;
mod unwind;

use aya_ebpf::macros::{btf_tracepoint, perf_event};
use aya_ebpf::programs::{BtfTracePointContext, PerfEventContext};

/// Takes one sample of the current task.
#[perf_event]
pub fn sample(context: PerfEventContext) -> u32 {
    sample::take(&context);
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

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
