//! The top of a user stack, for a walk that the agent makes, in up to [`MAX_RECORDS`] records: a [`SnapshotHeader`], then
//! `SnapshotHeader::bytes` bytes of a stack, each from where the one before ends; where a thread of a Go program is on its
//! scheduler's stack, the rest are of its user goroutine's. Where an unwind table was missing, a ring holds them right before
//! the sample of the same thread and time. Native byte order.

use crate::unwind::Goroutine;

/// Records of one stack: what does not fit is deeper than nearly all stacks are.
pub const MAX_RECORDS: u32 = 4;
/// Bytes of stack in a record from which on no more are copied.
pub const MAX_STACK_BYTES: usize = 24 << 10;
/// Most bytes that are copied at a time: up to the end of a page of the smallest size.
pub const PIECE_BYTES: usize = 4 << 10;
/// General registers of a header, by DWARF number; a machine with fewer leaves the others zero.
pub const GENERAL_REGISTERS: usize = 32;
/// Words of a goroutine that a snapshot holds: `runtime.g` up to the end of `g.sched` in every version.
pub const GOROUTINE_WORDS: usize = 14;
/// Where `g.m` is in every version (`runtime/runtime2.go`, from Go 1.6 on).
pub const GOROUTINE_MACHINE: u64 = 48;
/// Where `g.stack.hi` is in every version, in words; `g.stack.lo` is the first.
pub const GOROUTINE_STACK_END: usize = 1;
/// Where `g.sched.sp` is in every version that has `g.m` there, in words.
pub const GOROUTINE_SAVED_STACK_POINTER: usize = 7;
/// Where `m.curg` may be: from Go 1.25 on, and before.
pub const MACHINE_USER: [u64; 2] = [184, 192];
/// How far below the thread pointer `g` lies on x86_64 in programs that Go links (`runtime.tlsg`, a word).
pub const GO_RUNNING_BELOW: u64 = 8;
/// What kind of record a ring holds: beside `sample::RECORD_ON_CPU`.
pub const RECORD_SNAPSHOT: u8 = 2;

/// The beginning of a goroutine's descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoroutineWords {
    /// Its address; 0: there is none.
    pub address: u64,
    /// What is there.
    pub words: [u64; GOROUTINE_WORDS],
}

/// What a walk asks of a thread of a Go program beside its stacks. Where nothing is known of the process yet, the kernel
/// side looks where Go would have it: what it finds counts only for a program that turns out to be one in Go.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoThread {
    /// The thread's pointer to its thread-local variables.
    pub thread_pointer: u64,
    /// The `g` that the thread runs on; 0 where that was not looked for.
    pub running: u64,
    /// The thread's `m`; 0: none was found.
    pub machine: u64,
    /// Where in `m` the user goroutine was found, in bytes; 0 where that was not looked for.
    pub user_offset: u64,
    /// The goroutine of the scheduler's stack, `m.g0`.
    pub scheduler: GoroutineWords,
    /// The user goroutine, `m.curg`.
    pub user: GoroutineWords,
}

/// The fixed part of a snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// `SampleHeader::time` of the sample that it belongs to.
    pub time: u64,
    /// The pc that was interrupted.
    pub pc: u64,
    /// Address of the first byte of stack that was copied.
    pub start: u64,
    /// What the thread works for, as far as the kernel side knew.
    pub goroutine: Goroutine,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Bytes of stack that follow.
    pub bytes: u32,
    /// `RECORD_SNAPSHOT`: where a sample has its kind.
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// General registers by DWARF number.
    pub general: [u64; GENERAL_REGISTERS],
    /// What the thread has of Go.
    pub go: GoThread,
}

const _: () = assert!(size_of::<GoThread>() == 32 + 2 * (8 + 8 * GOROUTINE_WORDS));
const _: () =
    assert!(size_of::<SnapshotHeader>() == 64 + 8 * GENERAL_REGISTERS + size_of::<GoThread>());
const _: () = assert!(
    core::mem::offset_of!(SnapshotHeader, kind) == core::mem::offset_of!(super::SampleHeader, kind)
);

/// One CPU's room for a snapshot. A copy begins before [`MAX_STACK_BYTES`] and is no longer than [`PIECE_BYTES`].
#[repr(C)]
pub struct Snapshot {
    /// Whose it is.
    pub header: SnapshotHeader,
    /// The stack, from `header.start` on.
    pub stack: [u8; MAX_STACK_BYTES + PIECE_BYTES],
}
// The kernel's limit for a value of a map per CPU (`PCPU_MIN_UNIT_SIZE` of `include/linux/percpu.h`).
const _: () = assert!(size_of::<Snapshot>() <= 32 << 10);
