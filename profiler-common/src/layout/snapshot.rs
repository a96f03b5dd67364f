//! The top of a user stack, for a walk that the agent makes, in up to [`MAX_RECORDS`] records: a [`SnapshotHeader`], then
//! `SnapshotHeader::bytes` bytes of the stack, each from where the one before ends. Where an unwind table was missing, a ring holds them right before the
//! sample of the same thread and time. Native byte order.

use crate::unwind::Goroutine;

/// Records of one stack: what does not fit is deeper than nearly all stacks are.
pub const MAX_RECORDS: u32 = 4;
/// Bytes of stack in a record from which on no more are copied.
pub const MAX_STACK_BYTES: usize = 24 << 10;
/// Most bytes that are copied at a time: up to the end of a page of the smallest size.
pub const PIECE_BYTES: usize = 4 << 10;
/// General registers of a header, by DWARF number; a machine with fewer leaves the others zero.
pub const GENERAL_REGISTERS: usize = 32;
/// What kind of record a ring holds: beside `sample::RECORD_ON_CPU`.
pub const RECORD_SNAPSHOT: u8 = 2;

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
}

const _: () = assert!(size_of::<SnapshotHeader>() == 64 + 8 * GENERAL_REGISTERS);
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
