//! `struct user_pt_regs` of aarch64 (`arch/arm64/include/uapi/asm/ptrace.h`).

use aya_ebpf::bindings::bpf_perf_event_data;
use profiler_common::unwind::{Registers, Slot};

/// The machine whose stacks are walked.
pub type Machine = profiler_common::unwind::Aarch64;

/// General registers, by DWARF number 0 to 31 (31 is sp).
pub const REGISTERS: usize = 32;

/// The stack pointer among them.
pub const STACK_POINTER: usize = 31;

/// `struct user_pt_regs`: also the beginning of `struct pt_regs`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UserRegisters {
    regs: [u64; 31],
    sp: u64,
    pc: u64,
    pstate: u64,
}
const _: () = assert!(size_of::<UserRegisters>() == 272);

/// `PSR_MODE32_BIT`: AArch32 state.
const MODE_32_BIT: u64 = 0x10;

/// The pc that was interrupted.
#[inline(always)]
pub fn interrupted_pc(data: *const bpf_perf_event_data) -> u64 {
    // SAFETY: the verifier checks accesses to the context.
    unsafe { (*data.cast::<UserRegisters>()).pc }
}

// Volatile: the verifier wants each access at a constant offset from the pointer itself.
macro_rules! copy {
    ($from:ident $to:ident) => {
        copy!($from $to 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
        copy!($from $to 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33);
    };
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
        copy!(from to);
    }
}

/// Copies registers from a `struct pt_regs` that the verifier knows as one.
#[inline(always)]
pub fn from_known(known: *const UserRegisters, user: *mut UserRegisters) {
    let (from, to) = (known.cast::<u64>(), user.cast::<u64>());
    // SAFETY: both are this long; the verifier checks the accesses.
    unsafe {
        copy!(from to);
    }
    // The compiler would make one copy of this one and that of `from_context`, with a pointer to either: the verifier
    // wants each access to be through pointers of one kind. It does not move code across this.
    core::hint::black_box(user);
}

/// Does the task run 32-bit code?
#[inline(always)]
pub fn is_compat(user: *const UserRegisters) -> bool {
    // SAFETY: points into the context or the scratch space.
    unsafe { (*user).pstate & MODE_32_BIT != 0 }
}

/// Where the task was interrupted.
#[inline(always)]
pub fn pc(user: *const UserRegisters) -> u64 {
    // SAFETY: points into the scratch space.
    unsafe { (*user).pc }
}

/// The `g` that a thread runs on while it runs code of Go (R28 of its ABI).
#[inline(always)]
pub const fn go_running(general: &[u64; REGISTERS], _thread_pointer: u64) -> u64 {
    general[28]
}

/// The registers to unwind from; `general` gets all of them by DWARF number.
#[inline(always)]
pub fn registers(user: *const UserRegisters, general: &mut [u64; REGISTERS]) -> Registers {
    // SAFETY: points into the context or the scratch space.
    let user = unsafe { &*user };
    let mut number = 0;
    while number < 31 {
        general[number] = user.regs[number];
        number += 1;
    }
    general[31] = user.sp;
    Registers {
        pc: user.pc,
        stack_pointer: user.sp,
        frame_pointer: Slot::value(user.regs[29]),
        base_register: Slot::value(user.regs[19]),
        link_register: user.regs[30],
        interrupted: Registers::LEAF,
        called_leaf: 0,
    }
}
