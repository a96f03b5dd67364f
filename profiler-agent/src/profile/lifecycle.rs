//! What happened to processes: side-band records of the kernel, decoded.

use std::ops::Range;

use super::{
    BootTime, BuildId, FileOffset, KernelAddress, KernelCodeKind, ThreadName, VirtualAddress,
};

/// One event, with its time. Events of different CPUs are merged by time before they are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// When it happened.
    pub time: BootTime,
    /// What.
    pub kind: ProcessEventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEventKind {
    /// A process or thread was created.
    Fork {
        /// The new process (equal to `parent_pid` for a new thread).
        pid: u32,
        /// The new thread.
        tid: u32,
        /// The creating process.
        parent_pid: u32,
    },
    /// A thread ended.
    Exit {
        /// Its process.
        pid: u32,
        /// The thread; equal to `pid` for the main thread.
        tid: u32,
    },
    /// A process started a new image: all its earlier mappings are gone.
    Exec {
        /// The process.
        pid: u32,
        /// Its new name.
        name: ThreadName,
    },
    /// A thread changed its name.
    Rename {
        /// Its process.
        pid: u32,
        /// The thread.
        tid: u32,
        /// The new name.
        name: ThreadName,
    },
    /// An executable mapping was made (or made executable).
    Map {
        /// The process.
        pid: u32,
        /// Its addresses.
        range: Range<VirtualAddress>,
        /// Where in the file it starts.
        offset: FileOffset,
        /// What file.
        identity: FileIdentity,
        /// The path as the process's root sees it, ` (deleted)` included as the kernel gives it;
        /// `//anon`, `[vdso]` and the like for what is no file. Untrusted.
        path: Box<[u8]>,
    },
    /// The kernel made code for itself.
    KernelCodeCame {
        /// Where.
        range: Range<KernelAddress>,
        /// What for.
        kind: KernelCodeKind,
        /// Its symbol.
        name: Box<str>,
    },
    /// Such code is gone.
    KernelCodeWent {
        /// Where it was.
        range: Range<KernelAddress>,
    },
    /// The kernel dropped records, all of them before the time of this event: processes must be scanned again.
    Lost {
        /// How many.
        records: u64,
        /// They may have been as early as this.
        since: BootTime,
    },
}

/// How a side-band record names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileIdentity {
    /// By its GNU build id.
    BuildId(BuildId),
    /// By device and inode.
    Inode {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
        /// Inode number.
        inode: u64,
        /// Inode generation; 0 where unknown.
        generation: u64,
    },
}
