//! The kernel side's counters: one `u64` per counter and CPU. Every sample that was taken is in
//! exactly one of `Delivered` and the losses: also every sample of time off CPU that was drawn.

/// Index into the per-CPU array of counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Samples written to a ring.
    Delivered = 0,
    /// Lost: the CPU's ring was full.
    RingFull = 1,
    /// Lost: the CPU has no ring (it came online and the agent has not caught up).
    RingMissing = 2,
    /// Lost: the record's scratch space was not available.
    ScratchMissing = 3,
    /// Not a loss: a sample of a task that was not selected.
    NotSelected = 4,
    /// Not a loss: a sample of the idle task.
    Idle = 5,
    /// A forked or exec'd process found no room in the table of processes; its stacks are followed
    /// by frame pointer.
    ProcessTableFull = 6,
    /// A forked child found no room in the set of selected processes; it is not profiled.
    SelectionFull = 7,
    /// Lost: an off-CPU sample found the CPU's ring full.
    OffCpuRingFull = 8,
    /// Lost: an off-CPU sample was due, and the program that takes its stack did not run, or was at work already.
    OffCpuMissed = 9,
    /// A thread left a CPU and there was no room to note when: this stay of it off CPU is not seen.
    OffCpuUntracked = 10,
}

/// Number of counters.
pub const COUNTERS: usize = 11;

impl Counter {
    /// Every counter, in order of index.
    pub const ALL: [Self; COUNTERS] = [
        Self::Delivered,
        Self::RingFull,
        Self::RingMissing,
        Self::ScratchMissing,
        Self::NotSelected,
        Self::Idle,
        Self::ProcessTableFull,
        Self::SelectionFull,
        Self::OffCpuRingFull,
        Self::OffCpuMissed,
        Self::OffCpuUntracked,
    ];

    /// The counter's name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::RingFull => "ring_full",
            Self::RingMissing => "ring_missing",
            Self::ScratchMissing => "scratch_missing",
            Self::NotSelected => "not_selected",
            Self::Idle => "idle",
            Self::ProcessTableFull => "process_table_full",
            Self::SelectionFull => "selection_full",
            Self::OffCpuRingFull => "off_cpu_ring_full",
            Self::OffCpuMissed => "off_cpu_missed",
            Self::OffCpuUntracked => "off_cpu_untracked",
        }
    }
}
