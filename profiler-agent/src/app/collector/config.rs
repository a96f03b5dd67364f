//! What the collector is told to do.

use std::time::Duration;

use crate::app::economy::{Economy, Shortage};
use crate::app::memory_limit::MemoryLimit;
use crate::collect::sideband::open::MappingRecords;
use crate::collect::{OffCpu, Selection, Way};
use crate::correlate;
use crate::inspect::CachePlace;
use crate::profile::SamplePeriod;

/// What the collector is to do.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// What is measured.
    pub kinds: Kinds,
    /// Which processes.
    pub selection: Selection,
    /// The processes selected from the start.
    pub selected: Vec<u32>,
    /// Length of a window.
    pub window: Duration,
    /// What may be taken of memory.
    pub economy: Economy,
    /// The limit of memory, where one is watched.
    pub memory: Option<MemoryLimit>,
    /// Says when it is short.
    pub shortage: Shortage,
    /// How long samples may hold up the end of a window while they wait for unwind tables.
    pub patience: Duration,
    /// How stacks are walked; `None`: the first way that the kernel takes.
    pub way: Option<Way>,
    /// What records of mappings are asked to say: no more than the kernel has.
    pub records: MappingRecords,
    /// Where tables are kept between runs.
    pub table_cache: Option<CachePlace>,
    /// What is kept of labels.
    pub correlation: correlate::Config,
}

/// What is measured, and how often: time on CPUs, time off them, or both.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// CPU time between two samples of a CPU.
    pub period: SamplePeriod,
    /// Are samples of running threads kept?
    pub on_cpu: bool,
    /// How samples of threads that do not run are taken, where they are.
    pub off_cpu: Option<OffCpu>,
    /// Does a kernel that cannot tell how long threads are off CPU end it all?
    pub off_cpu_required: bool,
}
