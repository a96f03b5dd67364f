//! Fields of the kernel's `task_struct`.

use aya_ebpf::Global;

use crate::globals::{TASK_FLAGS_OFFSET, TASK_TGID_OFFSET, TASK_THREAD_POINTER_OFFSET};

/// `PF_KTHREAD` and `PF_EXITING` of `include/linux/sched.h`.
const KERNEL_THREAD: u32 = 0x0020_0000;
const EXITING: u32 = 0x0000_0004;

/// A pointer to a `task_struct` that the verifier knows as one.
#[derive(Clone, Copy)]
pub struct Task(pub *const u8);

impl Task {
    /// Is it a kernel thread?
    #[inline(always)]
    pub fn is_kernel_thread(self) -> bool {
        self.word(&TASK_FLAGS_OFFSET) & KERNEL_THREAD != 0
    }
    /// Is it ending? It does not return to user space, and its memory may be gone.
    #[inline(always)]
    pub fn is_exiting(self) -> bool {
        self.word(&TASK_FLAGS_OFFSET) & EXITING != 0
    }
    /// Its process id.
    #[inline(always)]
    pub fn process_id(self) -> u32 {
        self.word(&TASK_TGID_OFFSET)
    }
    /// Its thread pointer, as it was when it was last switched to or set by a system call.
    #[inline(always)]
    pub fn thread_pointer(self) -> u64 {
        let offset = TASK_THREAD_POINTER_OFFSET.load() as usize;
        // SAFETY: the verifier checks the access against the type of the field at this offset.
        unsafe { *self.0.add(offset).cast::<u64>() }
    }
    #[inline(always)]
    fn word(self, offset: &Global<u32>) -> u32 {
        // SAFETY: the verifier checks the access against the type of the field at this offset.
        unsafe { *self.0.add(offset.load() as usize).cast::<u32>() }
    }
}
