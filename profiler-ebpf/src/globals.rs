//! What the loader sets before the programs are verified: constants to the verifier.
//!
//! In place of CO-RE relocations, which Rust cannot emit, the offsets of kernel structures come
//! from the running kernel's BTF.

use aya_ebpf::Global;

/// Byte offset of `task_struct.flags`.
#[unsafe(no_mangle)]
pub static TASK_FLAGS_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.tgid`.
#[unsafe(no_mangle)]
pub static TASK_TGID_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.pid`.
#[unsafe(no_mangle)]
pub static TASK_PID_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.__state` (`state` in older kernels).
#[unsafe(no_mangle)]
pub static TASK_STATE_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.start_time`.
#[unsafe(no_mangle)]
pub static TASK_START_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.sched_info.run_delay`; 0: this kernel does not keep it.
#[unsafe(no_mangle)]
pub static TASK_RUN_DELAY_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.stack`.
#[unsafe(no_mangle)]
pub static TASK_STACK_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.signal`.
#[unsafe(no_mangle)]
pub static TASK_SIGNAL_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `signal_struct.live`.
#[unsafe(no_mangle)]
pub static SIGNAL_LIVE_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of the thread pointer in `task_struct`.
#[unsafe(no_mangle)]
pub static TASK_THREAD_POINTER_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `task_struct.utask`; 0: this kernel has no probes in user space.
#[unsafe(no_mangle)]
pub static TASK_PROBES_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `uprobe_task.return_instances`.
#[unsafe(no_mangle)]
pub static RETURN_INSTANCES_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `return_instance.stack`.
#[unsafe(no_mangle)]
pub static RETURN_STACK_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `return_instance.orig_ret_vaddr`.
#[unsafe(no_mangle)]
pub static RETURN_ADDRESS_OFFSET: Global<u32> = Global::new(0);
/// Byte offset of `return_instance.next`.
#[unsafe(no_mangle)]
pub static RETURN_NEXT_OFFSET: Global<u32> = Global::new(0);
/// [`AddressMask`](profiler_common::unwind::AddressMask) of this machine.
#[unsafe(no_mangle)]
pub static ADDRESS_MASK: Global<u64> = Global::new(0);
/// 1: only the processes in `SELECTED` are sampled.
#[unsafe(no_mangle)]
pub static ONLY_SELECTED: Global<u32> = Global::new(0);
/// 1: children of selected processes are selected too.
#[unsafe(no_mangle)]
pub static SELECT_CHILDREN: Global<u32> = Global::new(0);
/// Bytes in a ring from which on its consumer is woken at once.
#[unsafe(no_mangle)]
pub static RING_WAKE_BYTES: Global<u64> = Global::new(u64::MAX);
/// Nanoseconds of CPU time between two samples of a CPU.
#[unsafe(no_mangle)]
pub static SAMPLE_PERIOD: Global<u64> = Global::new(0);
/// [`Drawing::threshold`](profiler_common::off_cpu::Drawing).
#[unsafe(no_mangle)]
pub static OFF_CPU_THRESHOLD: Global<u64> = Global::new(0);
/// [`Drawing::keep`](profiler_common::off_cpu::Drawing).
#[unsafe(no_mangle)]
pub static OFF_CPU_KEEP: Global<u64> = Global::new(0);
/// [`Drawing::inverse`](profiler_common::off_cpu::Drawing).
#[unsafe(no_mangle)]
pub static OFF_CPU_INVERSE: Global<u64> = Global::new(1);
/// 1: `STAYS` is used, and the stay of a thread that is no more is removed from it.
#[unsafe(no_mangle)]
pub static OFF_CPU_STAYS_HASHED: Global<u32> = Global::new(0);
