//! What the table of processes asks of the machine. [`scan::ProcFs`](super::scan::ProcFs) answers
//! from /proc; tests answer from values.

use super::cgroup::Cgroup;
use super::executables::MappedFile;
use crate::profile::{BootTime, ExecutableMapping, Losses, MappingKind};

/// A process as it was found.
#[derive(Clone, Debug)]
pub struct FoundProcess {
    /// When reading it began: what happened before is in it.
    pub at: BootTime,
    /// When it had been read: what happened in between may be in it.
    pub done: BootTime,
    /// When the process started (to a clock tick: 10 ms).
    pub started: BootTime,
    /// Its name.
    pub comm: Box<str>,
    /// Parent's pid.
    pub parent: u32,
    /// Is it a kernel thread?
    pub kernel: bool,
    /// Number of its threads.
    pub threads: u32,
    /// Path of its executable as its own root sees it; empty where unknown.
    pub executable: Box<str>,
    /// Its cgroup.
    pub cgroup: Option<Cgroup>,
    /// Its executable mappings; nothing where they were not read in time.
    pub mappings: Option<Vec<ExecutableMapping>>,
}

/// See the module.
pub trait Reader {
    /// The processes that there are.
    fn pids(&mut self) -> Vec<u32>;
    /// One process; `None` when it is gone or a zombie.
    fn process(&mut self, pid: u32) -> Option<FoundProcess>;
    /// The cgroup of a thread (a process's main thread has its pid), with its id where there is the
    /// v2 hierarchy alone; `None` when it is gone.
    fn cgroup(&mut self, tid: u32) -> Option<Cgroup>;
    /// Number of live threads of a process, whose main thread may have ended.
    fn threads(&mut self, pid: u32) -> u32;
    /// What a mapping is a mapping of.
    fn content(&mut self, mapped: &MappedFile<'_>) -> MappingKind;
    /// Frees what is not needed any more.
    fn prune(&mut self, now: BootTime);
    /// What could not be read since the last call, by cause.
    fn take_losses(&mut self) -> Losses;
}
