//! What a file, a runtime and a process that publishes something say, on threads of its own.
//!
//! Here is all that reads files and memory of others for the collector while samples are taken, beside what `process` must
//! know of every mapping at once. Nobody waits for any of it: requests go in, findings come out when they are there, and whoever
//! asked is notified. `app` asks, and hands findings on to who needs them.
//!
//! | asked | finds | bounds |
//! |---|---|---|
//! | [`TableBuilder`] | where a file's code is, its unwind tables by page, its [`FileFacts`] | one order a file; two threads, and eight reads that hang; tables that are kept, in bytes |
//! | [`Constants`] | constants of files: texts of labels that the kernel side could not read | texts that wait and that are known; one thread, and two reads that hang |
//! | [`Runtimes`] | what the kernel side is to know of a process's runtimes, by the facts of its files and by its memory | looks that become rarer; eight reads that hang |
//! | [`ProcessLooks`] | what a process says of itself: its environment, and the context that it publishes | looks that become rarer; sixteen that hang |
//!
//! What is planned (the order of requests, when to look again, what facts mean in a process) is pure; a thread reads and
//! answers. What a process or a file can do to its reader is hang, lie, be truncated meanwhile and make it panic:
//! each ends as a finding, and is counted.
//!
//! This stage stands on `unwind`, whose work on files it does; it knows no other stage.

mod constants;
mod facts;
pub mod processes;
mod runtimes;
mod tables;

use std::sync::Arc;

pub use constants::Constants;
pub use facts::FileFacts;
pub use processes::{ProcessLooks, Said};
pub use runtimes::{Mapped, Runtimes};
pub use tables::{CachePlace, Order, Piece, TableBuilder, What};

use crate::confine;
use crate::profile::Executable;

/// Called from another thread when there is something to take.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// Shorter files than this were copied when they were opened, where their file system may hang.
const COPIED: u64 = 1 << 20;

/// May reading the file hang: is it of a file system that somebody else answers for, and was not copied when it was opened?
fn may_hang(executable: &Executable) -> bool {
    let file = executable.file.as_ref();
    executable.length > COPIED && file.is_some_and(|file| !confine::is_local(file))
}
