//! One sample: who, kernel stack, user stack, out.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_perf_event_data;
use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_smp_processor_id, bpf_get_stack, bpf_ktime_get_boot_ns, bpf_ringbuf_output,
    bpf_ringbuf_query,
};
use aya_ebpf::programs::PerfEventContext;
use profiler_common::context::constants::Constants;
use profiler_common::context::labels::LabelWalk;
use profiler_common::context::links::LINK_ROOM;
use profiler_common::layout::context::MAX_CONTEXT_BYTES;
use profiler_common::layout::sample::{
    MAX_KERNEL_FRAMES, MAX_RECORD_BYTES, MAX_USER_FRAMES, RECORD_OFF_CPU, RECORD_ON_CPU,
};
use profiler_common::layout::{Counter, MappingEntry, SampleFlags, SampleHeader};
use profiler_common::unwind::{Goroutine, Outcome, Registers, Slot, Stacks};

use crate::context::MASK_SLACK_WORDS;
use crate::globals::{ONLY_SELECTED, RING_WAKE_BYTES, SAMPLE_PERIOD};
use crate::launder::Cell;
use crate::maps::{PROCESSES, RINGS, SELECTED};
use crate::purpose::Purpose;
use crate::registers::{self, REGISTERS, UserRegisters};
use crate::repeat::Repeat;
use crate::task::CurrentTask;
use crate::{runtime, snapshot, unwind};

/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`, `BPF_RB_AVAIL_DATA` of `include/uapi/linux/bpf.h`.
pub const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
pub const AVAILABLE_DATA: u64 = 0;

/// `PF_KTHREAD` and `PF_EXITING` of `include/linux/sched.h`. A task that is ending does not return to user
/// space, and its memory may be gone.
const KERNEL_THREAD: u32 = 0x0020_0000;
const EXITING: u32 = 0x0000_0004;

/// Frames of a record.
pub const MAX_FRAMES: usize = MAX_KERNEL_FRAMES + MAX_USER_FRAMES;

/// Words of a record behind its header.
pub const RECORD_WORDS: usize = MAX_FRAMES + MAX_CONTEXT_BYTES / 8;

/// Where one CPU puts a sample together. Only the program of one purpose uses it, and the kernel does
/// not nest it on a CPU.
#[repr(C)]
pub struct Scratch {
    /// The record as it goes to the ring: header, then frames, then entries.
    pub header: SampleHeader,
    /// Kernel frames, then user frames, then the entries of the context.
    pub frames: [u64; RECORD_WORDS + MASK_SLACK_WORDS],
    /// The frame that is being unwound.
    pub registers: Registers,
    /// General registers of the interrupted frame.
    pub general: [u64; REGISTERS],
    /// The mapping of the frame before: the next frame is often in it too.
    pub mapping: MappingEntry,
    /// User registers of the interrupted task.
    pub user: UserRegisters,
    /// Frames so far, of both stacks; then words of the record so far.
    pub position: u64,
    /// How the frame that is being unwound was found: flags of `RawFrame`.
    pub found_by: u64,
    /// 1: the frame is a guess, by the frame pointer of code that need not keep one.
    pub guessed: u64,
    /// What the thread of a Go program works for.
    pub goroutine: Goroutine,
    /// The walk over the goroutine's labels.
    pub labels: LabelWalk,
    /// Strings of programs' read-only data.
    pub constants: Constants,
    /// A link that is being read.
    pub link: [u64; LINK_ROOM],
    /// What the walk knows of its stacks.
    pub stacks: Stacks,
    /// Index of what is known of the process's runtime; 0: nothing.
    pub runtime: u32,
    /// The thread's pointer to its thread-local variables.
    pub thread_pointer: u64,
    /// Where the stack ends that is copied.
    pub stack_end: u64,
    /// Where the stack begins that is copied next; 0: none is.
    pub user_stack: u64,
    /// Where numbers are laundered.
    pub cell: Cell,
}

/// Takes a sample.
#[inline(always)]
pub fn take<T: CurrentTask, R: Repeat>(context: &PerfEventContext) {
    const PURPOSE: Purpose = Purpose::ON_CPU;
    let id = bpf_get_current_pid_tgid();
    let (pid, tid) = ((id >> 32) as u32, id as u32);
    if tid == 0 {
        return PURPOSE.count(Counter::Idle);
    }
    if !is_selected(pid) {
        return PURPOSE.count(Counter::NotSelected);
    }
    let Some(scratch) = PURPOSE.scratch() else {
        return PURPOSE.count(Counter::ScratchMissing);
    };
    // SAFETY: this CPU's element; see `Scratch` for why nobody else uses it.
    let scratch = unsafe { &mut *scratch };

    identify(scratch, pid, tid);
    let header = &mut scratch.header;
    // SAFETY: a helper without arguments.
    header.time = unsafe { bpf_ktime_get_boot_ns() };
    header.kind = RECORD_ON_CPU;
    header.value = SAMPLE_PERIOD.load();
    header.runnable = 0;
    let in_kernel = (registers::interrupted_pc(context.ctx) as i64) < 0;
    let mut position = 0;
    if in_kernel {
        scratch.header.flags |= SampleFlags::IN_KERNEL;
        position = kernel_stack(context.as_ptr(), scratch);
    }
    scratch.header.kernel_frames = position as u16;
    let user = (!in_kernel).then_some(context.ctx.cast_const());
    let end = user_stack::<T, R>(scratch, PURPOSE, user, position);
    scratch.header.user_frames = (end - position) as u16;
    submit(scratch, PURPOSE, end);
}

/// Is this process to be sampled?
#[inline(always)]
pub fn is_selected(pid: u32) -> bool {
    ONLY_SELECTED.load() == 0 || SELECTED.get_ptr(pid).is_some()
}

/// Fills in whose sample it is, and where it is taken.
#[inline(always)]
pub fn identify(scratch: &mut Scratch, pid: u32, tid: u32) {
    let header = &mut scratch.header;
    // SAFETY: helpers without arguments.
    unsafe {
        header.cgroup = bpf_get_current_cgroup_id();
        header.cpu = bpf_get_smp_processor_id();
    }
    header.image = 0;
    header.pid = pid;
    header.tid = tid;
    header.comm = bpf_get_current_comm().unwrap_or_default();
    header.flags = 0;
    header.outcome = Outcome::NoUserStack as u8;
    header.context_bytes = 0;
}

/// Writes the kernel stack to the beginning of the frames; its length.
#[inline(always)]
pub fn kernel_stack(context: *mut c_void, scratch: &mut Scratch) -> u64 {
    const BYTES: u32 = (MAX_KERNEL_FRAMES * 8) as u32;
    // SAFETY: the buffer is longer than BYTES.
    let written = unsafe { bpf_get_stack(context, scratch.frames.as_mut_ptr().cast(), BYTES, 0) };
    if written <= 0 || written > BYTES as i64 {
        return 0;
    }
    written as u64 / 8
}

/// Writes the user stack behind the kernel stack; the number of frames of both. `interrupted`: user code was, and its
/// registers are in this context.
#[inline(always)]
pub fn user_stack<T: CurrentTask, R: Repeat>(
    scratch: &mut Scratch,
    purpose: Purpose,
    interrupted: Option<*const bpf_perf_event_data>,
    position: u64,
) -> u64 {
    let task = T::get();
    let flags = task.flags();
    if flags & KERNEL_THREAD != 0 {
        scratch.header.flags |= SampleFlags::KERNEL_THREAD;
        return position;
    }
    if flags & EXITING != 0 {
        scratch.header.flags |= SampleFlags::EXITING;
        return position;
    }
    if let Some(context) = interrupted {
        registers::from_context(context, &raw mut scratch.user);
    } else if !task.user_registers(&raw mut scratch.user) {
        scratch.header.outcome = Outcome::RegistersMissing as u8;
        return position;
    }
    let user = &raw const scratch.user;
    if registers::is_compat(user) {
        scratch.header.outcome = Outcome::ForeignMode as u8;
        return position;
    }
    scratch.registers = registers::registers(user, &mut scratch.general);
    scratch.thread_pointer = task.thread_pointer();
    let entry = PROCESSES.get_ptr(scratch.header.pid);
    scratch.runtime = runtime::index(entry);
    let runtime = runtime::of(scratch.runtime);
    scratch.goroutine = runtime::goroutine(runtime, scratch.thread_pointer, &scratch.general);
    if scratch.goroutine.inconsistent != 0 {
        scratch.header.flags |= SampleFlags::GOROUTINE_INCONSISTENT;
    }
    let end = unwind::walk::<R>(scratch, purpose, entry, position);
    R::context(purpose);
    end
}

/// Sends the record to this CPU's ring.
#[inline(always)]
pub fn submit(scratch: &mut Scratch, purpose: Purpose, frames: u64) {
    let Some(ring) = RINGS.get(scratch.header.cpu) else {
        return purpose.count(Counter::RingMissing);
    };
    let ring: *mut c_void = core::ptr::from_ref(ring).cast_mut().cast();
    let bytes =
        size_of::<SampleHeader>() as u64 + 8 * frames + u64::from(scratch.header.context_bytes);
    if bytes > MAX_RECORD_BYTES as u64 {
        return purpose.count(Counter::ScratchMissing);
    }
    if scratch.header.flags & SampleFlags::TABLE_PENDING != 0 {
        snapshot::submit_snapshot_alone(purpose.0);
    }
    // SAFETY: `ring` is a ring buffer map.
    let filled = unsafe { bpf_ringbuf_query(ring, AVAILABLE_DATA) };
    let wake = if filled > RING_WAKE_BYTES.load() {
        FORCE_WAKEUP
    } else {
        NO_WAKEUP
    };
    // SAFETY: header, frames and entries are one run of memory of at least MAX_RECORD_BYTES.
    let result = unsafe { bpf_ringbuf_output(ring, (&raw mut *scratch).cast(), bytes, wake) };
    purpose.count(if result == 0 {
        Counter::Delivered
    } else if scratch.header.kind == RECORD_OFF_CPU {
        Counter::OffCpuRingFull
    } else {
        Counter::RingFull
    });
}

const _: () = assert!(core::mem::offset_of!(Scratch, frames) == size_of::<SampleHeader>());
const _: () = assert!(size_of::<Slot>() == 16);
