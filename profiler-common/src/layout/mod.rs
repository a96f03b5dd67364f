//! Layouts that cross the kernel boundary. Every type is `repr(C)`, has no padding that is not
//! named, and asserts its size where it is defined.

pub mod context;
pub mod counter;
// The kernel side emits no frames of interpreters yet.
#[cfg(not(target_arch = "bpf"))]
pub mod frame;
pub mod process;
pub mod runtime;
pub mod sample;
pub mod snapshot;

pub use counter::Counter;
#[cfg(not(target_arch = "bpf"))]
pub use frame::{Frame, Frames, InterpretedFrame, Interpreter};
pub use process::{ChunkTable, MappingChunk, MappingEntry, ProcessEntry, TablePlace};
pub use runtime::{GoRuntime, RuntimeEntry, ThreadLocal};
pub use sample::{RawFrame, SampleFlags, SampleHeader};
pub use snapshot::{Snapshot, SnapshotHeader};
