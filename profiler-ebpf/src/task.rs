//! Fields of the kernel's `task_struct`, and the registers that a task left user space with.
//!
//! Where the kernel hands out tasks that its verifier knows (`bpf_get_current_task_btf`), their fields are read
//! directly. Elsewhere a task is an address, and its fields are copied (`bpf_probe_read_kernel`).

use aya_ebpf::Global;
use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
    bpf_probe_read_kernel_buf, bpf_task_pt_regs,
};
use aya_ebpf::programs::BtfTracePointContext;

use crate::globals::{
    SIGNAL_LIVE_OFFSET, TASK_FLAGS_OFFSET, TASK_PID_OFFSET, TASK_RUN_DELAY_OFFSET,
    TASK_SIGNAL_OFFSET, TASK_STACK_OFFSET, TASK_START_OFFSET, TASK_STATE_OFFSET, TASK_TGID_OFFSET,
    TASK_THREAD_POINTER_OFFSET,
};
use crate::maps::USER_REGISTERS;
use crate::registers::{self, UserRegisters};

/// A pointer to a `task_struct` that the verifier knows as one.
#[derive(Clone, Copy)]
pub struct Task(pub *const u8);

impl Task {
    /// Its process id.
    #[inline(always)]
    pub fn process_id(self) -> u32 {
        self.word(&TASK_TGID_OFFSET)
    }
    /// Is it its process's main thread?
    #[inline(always)]
    pub fn is_main_thread(self) -> bool {
        self.word(&TASK_PID_OFFSET) == self.process_id()
    }
    /// Its thread id; 0 of idle tasks.
    #[inline(always)]
    pub fn thread_id(self) -> u32 {
        self.word(&TASK_PID_OFFSET)
    }
    /// What it waits for: 0 where it is runnable.
    #[inline(always)]
    pub fn state(self) -> u32 {
        self.word(&TASK_STATE_OFFSET)
    }
    /// When it was created, in nanoseconds.
    #[inline(always)]
    pub fn start_time(self) -> u64 {
        self.long(&TASK_START_OFFSET)
    }
    /// Nanoseconds that it has waited for a CPU until it was last given one; 0 where the kernel does not keep that.
    #[inline(always)]
    pub fn run_delay(self) -> u64 {
        if TASK_RUN_DELAY_OFFSET.load() == 0 {
            return 0;
        }
        self.long(&TASK_RUN_DELAY_OFFSET)
    }
    /// Threads of its process that are not ending (`signal_struct.live`).
    #[inline(always)]
    pub fn live_threads(self) -> u32 {
        let offset = TASK_SIGNAL_OFFSET.load() as usize;
        // SAFETY: the verifier checks the accesses against the types of the fields at these offsets.
        unsafe { Self(*self.0.add(offset).cast::<*const u8>()).word(&SIGNAL_LIVE_OFFSET) }
    }
    #[inline(always)]
    fn word(self, offset: &Global<u32>) -> u32 {
        // SAFETY: the verifier checks the access against the type of the field at this offset.
        unsafe { *self.0.add(offset.load() as usize).cast::<u32>() }
    }
    #[inline(always)]
    fn long(self, offset: &Global<u32>) -> u64 {
        // SAFETY: the verifier checks the access against the type of the field at this offset.
        unsafe { *self.0.add(offset.load() as usize).cast::<u64>() }
    }
}

/// The task that was interrupted.
pub trait CurrentTask: Copy {
    /// That task.
    fn get() -> Self;
    /// Its `PF_*` flags.
    fn flags(self) -> u32;
    /// As [`Task::run_delay`].
    fn run_delay(self) -> u64;
    /// Its thread pointer, as it was when it was last switched to or set by a system call.
    fn thread_pointer(self) -> u64;
    /// Copies the registers that it left user space with. Could they be read?
    fn user_registers(self, into: *mut UserRegisters) -> bool;
}

/// The current task as the verifier knows it.
#[derive(Clone, Copy)]
pub struct KnownTask(*mut task_struct);

impl CurrentTask for KnownTask {
    #[inline(always)]
    fn get() -> Self {
        // SAFETY: a helper without arguments.
        Self(unsafe { bpf_get_current_task_btf() })
    }
    #[inline(always)]
    fn flags(self) -> u32 {
        Task(self.0.cast_const().cast()).word(&TASK_FLAGS_OFFSET)
    }
    #[inline(always)]
    fn run_delay(self) -> u64 {
        Task(self.0.cast_const().cast()).run_delay()
    }
    #[inline(always)]
    fn thread_pointer(self) -> u64 {
        let offset = TASK_THREAD_POINTER_OFFSET.load() as usize;
        // SAFETY: the verifier checks the access against the type of the field at this offset.
        unsafe { *self.0.cast::<u8>().add(offset).cast::<u64>() }
    }
    #[inline(always)]
    fn user_registers(self, into: *mut UserRegisters) -> bool {
        // SAFETY: the task is the current one, as the helper asks for.
        let user = unsafe { bpf_task_pt_regs(self.0) };
        registers::from_known(user as *const UserRegisters, into);
        true
    }
}

/// The current task by its address.
#[derive(Clone, Copy)]
pub struct TaskAddress(u64);

impl TaskAddress {
    #[inline(always)]
    fn read<T>(self, offset: &Global<u32>) -> Option<T> {
        let address = self.0 + u64::from(offset.load());
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
    }
}

impl CurrentTask for TaskAddress {
    #[inline(always)]
    fn get() -> Self {
        // SAFETY: a helper without arguments.
        Self(unsafe { bpf_get_current_task() })
    }
    #[inline(always)]
    fn flags(self) -> u32 {
        self.read(&TASK_FLAGS_OFFSET).unwrap_or(0)
    }
    #[inline(always)]
    fn run_delay(self) -> u64 {
        if TASK_RUN_DELAY_OFFSET.load() == 0 {
            return 0;
        }
        self.read(&TASK_RUN_DELAY_OFFSET).unwrap_or(0)
    }
    #[inline(always)]
    fn thread_pointer(self) -> u64 {
        self.read(&TASK_THREAD_POINTER_OFFSET).unwrap_or(0)
    }
    #[inline(always)]
    fn user_registers(self, into: *mut UserRegisters) -> bool {
        let Some(stack) = self.read::<u64>(&TASK_STACK_OFFSET) else {
            return false;
        };
        let Some(distance) = USER_REGISTERS.get(0).filter(|distance| **distance != 0) else {
            return false;
        };
        let user = stack + *distance;
        // SAFETY: `into` is this long; the helper checks the address that it reads.
        let read = unsafe {
            let into = core::slice::from_raw_parts_mut(into.cast(), size_of::<UserRegisters>());
            bpf_probe_read_kernel_buf(user as *const u8, into)
        };
        read.is_ok()
    }
}

/// `sys_enter(registers, number)`: notes where on its kernel stack a task keeps the registers that it left user space
/// with. It is the same for all tasks, and depends on how the kernel was built (`THREAD_SIZE`).
#[inline(always)]
pub fn find_user_registers(context: &BtfTracePointContext) {
    let task = TaskAddress::get();
    let Some(stack) = task.read::<u64>(&TASK_STACK_OFFSET) else {
        return;
    };
    let Some(distance) = USER_REGISTERS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a live element, which only this program writes. Through it the verifier's pointer becomes a number.
    unsafe {
        distance.write_volatile(context.arg::<*const u8>(0) as u64);
        distance.write_volatile(distance.read_volatile() - stack);
    }
}
