//! `struct pt_regs` of x86_64 (`arch/x86/include/uapi/asm/ptrace.h`).

use aya_ebpf::bindings::bpf_perf_event_data;
use profiler_common::layout::snapshot::GO_RUNNING_BELOW;
use profiler_common::unwind::{Registers, Slot};

use crate::memory;

/// The machine whose stacks are walked.
pub type Machine = profiler_common::unwind::X86_64;

/// General registers, by DWARF number 0 to 15.
pub const REGISTERS: usize = 16;

/// The stack pointer among them.
pub const STACK_POINTER: usize = 7;

/// `struct pt_regs`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UserRegisters {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbp: u64,
    rbx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    orig_rax: u64,
    rip: u64,
    cs: u64,
    eflags: u64,
    rsp: u64,
    ss: u64,
}
const _: () = assert!(size_of::<UserRegisters>() == 168);

/// Code segment of 64-bit user code (`__USER_CS`); 32-bit code runs in `__USER32_CS`.
const USER_CODE_SEGMENT: u64 = 0x33;

/// The pc that was interrupted.
#[inline(always)]
pub fn interrupted_pc(data: *const bpf_perf_event_data) -> u64 {
    // SAFETY: the verifier checks accesses to the context.
    unsafe { (*data.cast::<UserRegisters>()).rip }
}

// Volatile: the verifier wants each access at a constant offset from the pointer itself.
macro_rules! copy {
    ($from:ident $to:ident $($index:literal)*) => {
        $(*$to.add($index) = $from.add($index).read_volatile();)*
    };
}

/// Copies the registers of a task that was interrupted in user code.
#[inline(always)]
pub fn from_context(data: *const bpf_perf_event_data, user: *mut UserRegisters) {
    let (from, to) = (data.cast::<u64>(), user.cast::<u64>());
    // SAFETY: both are this long; the verifier checks the accesses.
    unsafe {
        copy!(from to 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20);
    }
}

/// Copies registers from a `struct pt_regs` that the verifier knows as one.
#[inline(always)]
pub fn from_known(known: *const UserRegisters, user: *mut UserRegisters) {
    let (from, to) = (known.cast::<u64>(), user.cast::<u64>());
    // SAFETY: both are this long; the verifier checks the accesses. Of the segments some kernels have two bytes
    // only, and another field behind them.
    unsafe {
        copy!(from to 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 18 19);
        (*user).cs = u64::from((&raw const (*known).cs).cast::<u16>().read_volatile());
        (*user).ss = 0;
    }
}

/// Does the task run 32-bit code?
#[inline(always)]
pub fn is_compat(user: *const UserRegisters) -> bool {
    // SAFETY: points into the context or the scratch space.
    unsafe { (*user).cs & 0xffff != USER_CODE_SEGMENT }
}

/// Where the task was interrupted.
#[inline(always)]
pub fn pc(user: *const UserRegisters) -> u64 {
    // SAFETY: points into the scratch space.
    unsafe { (*user).rip }
}

/// The `g` that a thread of a program that is linked by Go runs on: at a fixed distance from the thread pointer
/// (`runtime.tlsg`).
#[inline(always)]
pub fn go_running(_general: &[u64; REGISTERS], thread_pointer: u64) -> u64 {
    memory::word_or_zero(thread_pointer.wrapping_sub(GO_RUNNING_BELOW))
}

/// The registers to unwind from; `general` gets all of them by DWARF number.
#[inline(always)]
pub fn registers(user: *const UserRegisters, general: &mut [u64; REGISTERS]) -> Registers {
    // SAFETY: points into the context or the scratch space.
    let user = unsafe { &*user };
    general[0] = user.rax;
    general[1] = user.rdx;
    general[2] = user.rcx;
    general[3] = user.rbx;
    general[4] = user.rsi;
    general[5] = user.rdi;
    general[6] = user.rbp;
    general[7] = user.rsp;
    general[8] = user.r8;
    general[9] = user.r9;
    general[10] = user.r10;
    general[11] = user.r11;
    general[12] = user.r12;
    general[13] = user.r13;
    general[14] = user.r14;
    general[15] = user.r15;
    Registers {
        pc: user.rip,
        stack_pointer: user.rsp,
        frame_pointer: Slot::value(user.rbp),
        base_register: Slot::value(user.rbx),
        link_register: 0,
        interrupted: Registers::LEAF,
        called_leaf: 0,
    }
}
