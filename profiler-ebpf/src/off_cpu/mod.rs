//! Time off CPU: how long threads that run again did not.
//!
//! When a CPU switches, one program notes when the old thread leaves, and decides whether the stay of the new thread that ends is
//! recorded. The new thread's memory cannot be read yet: another program takes its stack right after, when it runs on the
//! same CPU. Between the two the kernel switches to no other thread there.

pub mod stays;

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_prandom_u32, bpf_ktime_get_boot_ns};
use aya_ebpf::programs::BtfTracePointContext;
use profiler_common::layout::Counter;
use profiler_common::layout::sample::{MAX_KERNEL_FRAMES, RECORD_OFF_CPU};
use profiler_common::off_cpu::{Drawing, Drawn};

use crate::globals::{OFF_CPU_INVERSE, OFF_CPU_KEEP, OFF_CPU_THRESHOLD, TASK_RUN_DELAY_OFFSET};
use crate::maps::{DECISION, OFF_CPU_BEGAN};
use crate::purpose::Purpose;
use crate::repeat::{Bounded, ByHelper, Repeat};
use crate::sample::{identify, is_selected, kernel_stack, submit, user_stack};
use crate::task::{CurrentTask, KnownTask, Task, TaskAddress};
use stays::{Stay, Stays};

const PURPOSE: Purpose = Purpose::OFF_CPU;

/// `TASK_DEAD` of `include/linux/sched.h`: it does not run again.
const DEAD: u32 = 0x80;

/// An off-CPU sample that is due on this CPU.
#[repr(C)]
pub struct Decision {
    /// When the thread ran again, in nanoseconds of the boot clock.
    time: u64,
    /// [`Drawn::stay`].
    stay: u64,
    /// [`Drawn::counted`]; 0: none is due.
    counted: u64,
    /// `Task::run_delay` when it left.
    run_delay: u64,
    /// Nanoseconds of the stay that it waited for a CPU, as far as they are known already.
    runnable: u64,
    /// Its thread id.
    tid: u32,
    /// 1: the program that takes the stack is at work on this CPU.
    taking: u32,
}

/// `sched_switch(preempt, prev, next)`, while the old thread is still the current one.
#[inline(always)]
pub fn switched<S: Stays>(context: &BtfTracePointContext) {
    let preempted = context.arg::<u64>(0) != 0;
    let (prev, next) = (Task(context.arg(1)), Task(context.arg(2)));
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if prev.thread_id() != 0 && is_selected(prev.process_id()) {
        left::<S>(prev, preempted, now);
    }
    let Some(decision) = DECISION.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's element; this program and the one that takes the stack do not interrupt each other.
    let decision = unsafe { &mut *decision };
    if decision.counted != 0 {
        decision.counted = 0;
        PURPOSE.count(Counter::OffCpuMissed);
    }
    if next.thread_id() != 0
        && let Some(stay) = S::of(next)
    {
        // SAFETY: a live element; the thread is on this CPU.
        decide(decision, next, unsafe { &mut *stay }, now);
    }
}

/// A thread leaves its CPU.
#[inline(always)]
fn left<S: Stays>(task: Task, preempted: bool, now: u64) {
    let state = task.state();
    if state & DEAD != 0 {
        return;
    }
    let Some(stay) = S::of_or_new(task) else {
        return PURPOSE.count(Counter::OffCpuUntracked);
    };
    // SAFETY: a live element; the thread is on this CPU.
    let stay = unsafe { &mut *stay };
    stay.since = now;
    stay.run_delay = task.run_delay();
    stay.runnable = u64::from(preempted || state == 0);
}

/// A thread runs again: is its stay recorded?
#[inline(always)]
fn decide(decision: &mut Decision, task: Task, stay: &mut Stay, now: u64) {
    let since = stay.since;
    stay.since = 0;
    let Some(began) = OFF_CPU_BEGAN.get(0) else {
        return;
    };
    // Before that the thread may have run without having been seen.
    if since == 0 || since < *began || now < since {
        return;
    }
    // SAFETY: a helper without arguments.
    let random = || unsafe { bpf_get_prandom_u32() };
    let Some(drawn) = drawing().draw(&mut stay.short, now - since, random) else {
        return;
    };
    decision.time = now;
    decision.stay = drawn.stay;
    decision.counted = drawn.counted;
    decision.run_delay = stay.run_delay;
    decision.runnable = if stay.runnable != 0 {
        drawn.stay
    } else if stay.woken >= since {
        now - stay.woken
    } else {
        0
    };
    decision.tid = task.thread_id();
}

#[inline(always)]
fn drawing() -> Drawing {
    Drawing {
        threshold: OFF_CPU_THRESHOLD.load(),
        keep: OFF_CPU_KEEP.load(),
        inverse: OFF_CPU_INVERSE.load(),
    }
}

/// `sched_wakeup(task)`.
#[inline(always)]
pub fn woken<S: Stays>(context: &BtfTracePointContext) {
    let Some(stay) = S::of(Task(context.arg(0))) else {
        return;
    };
    // SAFETY: a live element. Who wakes a thread holds the lock of its CPU's queue, as who switches to it does.
    let stay = unsafe { &mut *stay };
    if stay.since != 0 && stay.woken < stay.since {
        // SAFETY: a helper without arguments.
        stay.woken = unsafe { bpf_ktime_get_boot_ns() };
    }
}

/// The thread runs: takes its stack, where a sample is due on this CPU.
#[inline(always)]
pub fn resumed<T: CurrentTask, R: TakeUserStack>(context: *mut c_void) {
    let Some(decision) = DECISION.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: as in `switched`.
    let decision = unsafe { &mut *decision };
    if decision.counted == 0 {
        return;
    }
    let drawn = Drawn {
        stay: decision.stay,
        counted: decision.counted,
    };
    decision.counted = 0;
    let id = bpf_get_current_pid_tgid();
    let (pid, tid) = ((id >> 32) as u32, id as u32);
    if tid != decision.tid || decision.taking != 0 {
        return PURPOSE.count(Counter::OffCpuMissed);
    }
    let Some(scratch) = PURPOSE.scratch() else {
        return PURPOSE.count(Counter::ScratchMissing);
    };
    decision.taking = 1;
    // SAFETY: this CPU's element; `taking` keeps others from it.
    let scratch = unsafe { &mut *scratch };
    identify(scratch, pid, tid);
    let runnable = if TASK_RUN_DELAY_OFFSET.load() != 0 && decision.runnable == 0 {
        T::get().run_delay().wrapping_sub(decision.run_delay)
    } else {
        decision.runnable
    };
    let header = &mut scratch.header;
    header.time = decision.time;
    header.kind = RECORD_OFF_CPU;
    header.value = drawing().weigh(drawn, drawn.stay);
    header.runnable = drawing().weigh(drawn, runnable);
    let position = kernel_stack(context, scratch);
    scratch.header.kernel_frames = position as u16;
    R::take_user_stack(position as u32);
    decision.taking = 0;
}

/// How the rest of a sample is taken, which is the same for all programs that take stacks: a function that the verifier looks
/// at once and alone.
pub trait TakeUserStack {
    /// Takes the user stack of the thread whose kernel stack has this many frames, and sends the record.
    fn take_user_stack(kernel_frames: u32);
}

impl TakeUserStack for ByHelper {
    #[inline(always)]
    fn take_user_stack(kernel_frames: u32) {
        off_cpu_by_helper_alone(kernel_frames);
    }
}

impl TakeUserStack for Bounded {
    #[inline(always)]
    fn take_user_stack(kernel_frames: u32) {
        off_cpu_bounded_alone(kernel_frames);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn off_cpu_by_helper_alone(kernel_frames: u32) -> u32 {
    rest::<KnownTask, ByHelper>(kernel_frames)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn off_cpu_bounded_alone(kernel_frames: u32) -> u32 {
    rest::<TaskAddress, Bounded>(kernel_frames)
}

#[inline(always)]
fn rest<T: CurrentTask, R: Repeat>(kernel_frames: u32) -> u32 {
    let Some(scratch) = PURPOSE.scratch() else {
        return 0;
    };
    // SAFETY: this CPU's element; `Decision::taking` keeps others from it.
    let scratch = unsafe { &mut *scratch };
    let position = u64::from(kernel_frames);
    if position > MAX_KERNEL_FRAMES as u64 {
        return 0;
    }
    let end = user_stack::<T, R>(scratch, PURPOSE, None, position);
    scratch.header.user_frames = (end - position) as u16;
    submit(scratch, PURPOSE, end);
    0
}
