//! One sample in a ring: a [`SampleHeader`], then `kernel_frames` kernel addresses (u64, leaf
//! first), then `user_frames` words (leaf first, [`Frames`](super::Frames)), then `context_bytes` bytes of entries
//! as [`context`](super::context) has them. Native byte order.

use super::context::MAX_CONTEXT_BYTES;

/// Most user frames of one sample; a deeper stack ends in `Outcome::Truncated`.
pub const MAX_USER_FRAMES: usize = 1024;
/// Most kernel frames of one sample (the kernel's own `perf_event_max_stack` default).
pub const MAX_KERNEL_FRAMES: usize = 127;
/// Length of the longest record, in bytes.
pub const MAX_RECORD_BYTES: usize =
    size_of::<SampleHeader>() + 8 * (MAX_USER_FRAMES + MAX_KERNEL_FRAMES) + MAX_CONTEXT_BYTES;

/// What kind of record a ring holds: a thread that was interrupted on a CPU. `snapshot::RECORD_SNAPSHOT` is 2.
pub const RECORD_ON_CPU: u8 = 1;
/// A thread that runs again after it was off CPU.
pub const RECORD_OFF_CPU: u8 = 3;

/// The fixed part of a record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleHeader {
    /// When the sample was taken, or the thread ran again: nanoseconds of `CLOCK_BOOTTIME`.
    pub time: u64,
    /// Which image of the process the unwinder's mappings belonged to: `ProcessEntry::image`,
    /// 0 when the kernel side had none.
    pub image: u64,
    /// cgroup v2 id of the task (inode number in cgroupfs); 0 where there is no v2 hierarchy.
    pub cgroup: u64,
    /// Process id (thread group id) in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Logical number of the CPU.
    pub cpu: u32,
    /// Number of kernel addresses that follow.
    pub kernel_frames: u16,
    /// Number of words of user frames that follow the kernel addresses.
    pub user_frames: u16,
    /// Name of the thread, NUL padded.
    pub comm: [u8; 16],
    /// [`RECORD_ON_CPU`] or [`RECORD_OFF_CPU`].
    pub kind: u8,
    /// Why the user stack ended: `unwind::Outcome` as a number.
    pub outcome: u8,
    /// [`SampleFlags`].
    pub flags: u16,
    /// Bytes of entries behind the frames: a multiple of eight.
    pub context_bytes: u32,
    /// Nanoseconds that the sample stands for. `RECORD_ON_CPU`: the period of sampling. `RECORD_OFF_CPU`: the time that the
    /// thread was off CPU, times the sample's weight (`off_cpu::Drawing`).
    pub value: u64,
    /// Nanoseconds of `value` in which the thread could have run and waited for a CPU: it had been woken, or another thread
    /// had taken its place. Never more than `value`; 0 of `RECORD_ON_CPU`.
    pub runnable: u64,
}

const _: () = assert!(size_of::<SampleHeader>() == 80);
const _: () = assert!(core::mem::offset_of!(SampleHeader, comm) == 40);

/// Facts about a whole sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleFlags(pub u16);

impl SampleFlags {
    /// The interrupt hit the kernel: the first kernel frame was interrupted, not called from. Never of `RECORD_OFF_CPU`.
    pub const IN_KERNEL: u16 = 1;
    /// The task is a kernel thread: it has no user stack.
    pub const KERNEL_THREAD: u16 = 2;
    /// At least one frame was found through a frame pointer because its file's table was not there.
    pub const TABLE_PENDING: u16 = 4;
    /// The kernel side did not know the process yet.
    pub const UNKNOWN_PROCESS: u16 = 8;
    /// What the thread's Go runtime says of its goroutine contradicts itself: it was not used.
    pub const GOROUTINE_INCONSISTENT: u16 = 16;
    /// The thread is ending and does not return to its user stack: what the kernel does is all there is. Where the
    /// kernel reports the end before it frees the memory, such samples come after it.
    pub const EXITING: u16 = 32;

    /// Is `flag` set?
    #[must_use]
    pub const fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }
}

/// One user frame: a pc, and how it was found, in the two top bits that no user address uses.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RawFrame(pub u64);

impl RawFrame {
    /// The pc was interrupted, not called from: it is looked up as it is, not at pc-1.
    pub const INTERRUPTED: u64 = 1 << 63;
    /// The step that led to this frame followed a frame pointer, not a table.
    pub const BY_FRAME_POINTER: u64 = 1 << 62;
    /// The trampoline of a return probe: the next frame is where the probed function really returns to.
    pub const RETURN_PROBE: u64 = 1 << 61;
    const FLAGS: u64 = Self::INTERRUPTED | Self::BY_FRAME_POINTER | Self::RETURN_PROBE;

    /// A frame at `pc` (the three top bits of which are dropped) with `flags`.
    #[must_use]
    pub const fn new(pc: u64, flags: u64) -> Self {
        Self((pc & !Self::FLAGS) | (flags & Self::FLAGS))
    }
    /// The pc as the unwinder saw it.
    #[must_use]
    pub const fn pc(self) -> u64 {
        self.0 & !Self::FLAGS
    }
    /// Was the pc interrupted (leaf, or above a signal frame)?
    #[must_use]
    pub const fn interrupted(self) -> bool {
        self.0 & Self::INTERRUPTED != 0
    }
    /// Is it the trampoline of a return probe?
    #[must_use]
    pub const fn return_probe(self) -> bool {
        self.0 & Self::RETURN_PROBE != 0
    }
    /// Did a frame pointer lead here?
    #[must_use]
    pub const fn by_frame_pointer(self) -> bool {
        self.0 & Self::BY_FRAME_POINTER != 0
    }
}
