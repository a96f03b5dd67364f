//! What is remembered of a thread while it is off CPU, and where: nothing of it outlives the thread.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE;
use aya_ebpf::helpers::generated::bpf_task_storage_get;
use profiler_common::off_cpu::ShortStays;

use crate::maps::{STAYS, TASK_STAYS};
use crate::task::Task;

/// Threads that [`ByAddress`] has room for.
pub const MAX_THREADS: usize = 32_768;

/// A thread's stay off CPU. All zero is that of a thread that has not left a CPU.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Stay {
    /// When it left the CPU, in nanoseconds of the boot clock; 0: it is on a CPU, or that is not known.
    pub since: u64,
    /// `Task::run_delay` then.
    pub run_delay: u64,
    /// When it was woken, where the kernel does not keep `Task::run_delay`: of this stay if it is not before `since`.
    pub woken: u64,
    /// [`ByAddress`]: when the thread was created. The task at an address is another one's in time.
    pub start_time: u64,
    /// How far it has come in its short stays.
    pub short: ShortStays,
    /// 1: it could have gone on, and another thread took its place.
    pub runnable: u64,
}

/// Where stays are kept. All that is returned points to a live element that only programs on the CPU that switches the thread
/// write to, and the one that is woken by another.
pub trait Stays {
    /// The stay of a task, if it has one.
    fn of(task: Task) -> Option<*mut Stay>;
    /// The stay of a task, made where it had none; `None`: there is no room for it.
    fn of_or_new(task: Task) -> Option<*mut Stay>;
}

/// With the task, by the kernel, which frees it with the task.
pub struct InTask;

impl InTask {
    #[inline(always)]
    fn get(task: Task, flags: u32) -> Option<*mut Stay> {
        let map = (&raw const TASK_STAYS).cast_mut().cast::<c_void>();
        let task = task.0.cast_mut().cast();
        // SAFETY: the map is one of the tasks' storage, and the task one that the verifier knows.
        let stay = unsafe { bpf_task_storage_get(map, task, core::ptr::null_mut(), flags.into()) };
        (!stay.is_null()).then_some(stay.cast())
    }
}

impl Stays for InTask {
    #[inline(always)]
    fn of(task: Task) -> Option<*mut Stay> {
        Self::get(task, 0)
    }
    #[inline(always)]
    fn of_or_new(task: Task) -> Option<*mut Stay> {
        Self::get(task, BPF_LOCAL_STORAGE_GET_F_CREATE)
    }
}

/// In a hash by the task's address, from which `process_free` removes it.
pub struct ByAddress;

impl ByAddress {
    /// Removes the stay of a task that is no more.
    #[inline(always)]
    pub fn forget(task: Task) {
        // A thread that was never seen has none: that is no error.
        let _ = STAYS.remove(task.0 as u64);
    }
}

impl Stays for ByAddress {
    #[inline(always)]
    fn of(task: Task) -> Option<*mut Stay> {
        let stay = STAYS.get_ptr_mut(task.0 as u64)?;
        // SAFETY: a live element.
        let is_its_own = unsafe { (*stay).start_time } == task.start_time();
        is_its_own.then_some(stay)
    }
    #[inline(always)]
    fn of_or_new(task: Task) -> Option<*mut Stay> {
        if let Some(stay) = Self::of(task) {
            return Some(stay);
        }
        let new = Stay {
            start_time: task.start_time(),
            ..Stay::default()
        };
        STAYS.insert(task.0 as u64, new, 0).ok()?;
        STAYS.get_ptr_mut(task.0 as u64)
    }
}

/// The definition of a map that the kernel keeps with its tasks. Only the loader reads it.
#[repr(C)]
pub struct TaskStorage<V> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const V,
    map_flags: *const [i32; NO_PREALLOC],
}

/// `BPF_F_NO_PREALLOC`, which the kernel asks of such maps.
const NO_PREALLOC: usize = 1;

// SAFETY: the fields are placeholders, which nobody reads: the kernel keeps the map.
unsafe impl<V> Sync for TaskStorage<V> {}

impl<V> TaskStorage<V> {
    /// The definition, for a static in the section of maps.
    pub const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }
}
