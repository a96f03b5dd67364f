//! What was lost or degraded, by cause.

use std::collections::BTreeMap;

/// Why something that should be in a profile is not, or is less than it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LossCause {
    /// Samples: a CPU's ring was full.
    RingFull,
    /// Samples: a CPU had no ring yet.
    RingMissing,
    /// Samples: no scratch space in the kernel.
    ScratchMissing,
    /// Samples of time off CPU: a CPU's ring was full.
    OffCpuRingFull,
    /// Samples of time off CPU: the stack of a thread that ran again was not taken.
    OffCpuMissed,
    /// Times that a thread left its CPU and there was no room to note when: that time off CPU is in no window.
    OffCpuUntracked,
    /// Samples: a ring record was malformed.
    RecordMalformed,
    /// Samples: taken of a process that is not known.
    ProcessUnknown,
    /// Samples: the window held its maximum.
    WindowFull,
    /// Attempts that failed to sample a CPU that is online: it is not sampled until one succeeds.
    CpuUnsampled,
    /// CPUs that came online, or were offline for a moment, and were not sampled until that was seen: for a second, or
    /// as long as the agent itself did not run.
    CpuInterrupted,
    /// Side-band records that the kernel dropped (the processes were scanned again).
    SidebandLost,
    /// Side-band records that were malformed.
    SidebandMalformed,
    /// Attempts that failed to follow what the processes of a CPU do: they are read from /proc now and then until one
    /// succeeds.
    SidebandMissing,
    /// Operations on the kernel side's maps that failed: they are tried again.
    MapFailed,
    /// Processes that the kernel side had no room for.
    ProcessTableFull,
    /// Selected processes that the kernel side had no room for.
    SelectionFull,
    /// Mappings that the kernel side had no room for.
    MappingTableFull,
    /// Samples with frames that have no name, because it is not known what was mapped there at that time: side-band
    /// records were lost, or more was mapped in turn than is remembered.
    MappingUnknown,
    /// Pieces of code that the kernel has made and that there was no room for: their frames have no name.
    KernelCodeFull,
    /// Processes whose runtime the kernel side had no room for: no goroutines, labels and links of theirs.
    RuntimeTableFull,
    /// Executables that could not be opened.
    ExecutableUnopened,
    /// Executables that are not what was mapped (build id or inode differ).
    ExecutableReplaced,
    /// Executables whose ELF file is malformed.
    ElfMalformed,
    /// Executables without usable call frame information.
    UnwindInfoMissing,
    /// Executables whose call frame information is malformed.
    UnwindInfoMalformed,
    /// Tables that were not loaded because of the memory budget.
    UnwindTableBudget,
    /// Executables whose debug information was left out because of the memory budget.
    DebugInfoBudget,
    /// Files of processes that were not read because their file system did not answer in time.
    FileUnanswered,
    /// Executables whose symbols could not be read.
    SymbolsMalformed,
    /// Go executables whose line table is malformed or of a version that is not read, and locations
    /// whose function in it is malformed.
    GoLineTableMalformed,
    /// Go executables whose inlined calls are not found, and locations where they are malformed.
    GoInlineTreeMalformed,
    /// The kernel's symbols are hidden from us (`kernel.kptr_restrict`, or no CAP_SYSLOG).
    KernelSymbolsHidden,
    /// Perf maps that could not be read or were malformed.
    PerfMapMalformed,
    /// Samples: the stages behind the window were behind by as many windows as may wait.
    PipelineBehind,
    /// Locations that were not symbolized because the symbolizer was behind.
    SymbolizerBehind,
    /// Payloads dropped: the queue in memory was full, and there was no spool or it took no more.
    QueueFull,
    /// Payloads dropped: the receiver refused them for good.
    ReceiverRefused,
    /// Profiles that a receiver rejected of a payload that it accepted.
    ReceiverRejected,
    /// Payloads dropped: not delivered when the agent stopped.
    ShutdownUndelivered,
    /// Windows that the local store could not take.
    StoreFailed,
    /// Windows and merged spans of the local store that could not be read back, and files of it that were set aside.
    StoreDamaged,
    /// Samples of Go programs whose goroutine could not be told: no labels, no way from one stack to another.
    GoroutineInconsistent,
    /// Processes that publish thread contexts in a variable whose place could not be found: no links of theirs.
    ThreadContextUnresolved,
    /// What processes publish of themselves: malformed, or too long.
    ProcessContextMalformed,
    /// Labels: cut, or left out because a sample or a window had more than are kept.
    LabelCut,
    /// Labels: the value was replaced by `other`, or with too many distinct keys the label left out.
    LabelValues,
    /// Trace links: malformed ids.
    LinkMalformed,
    /// Trace and span ids that the store's index had no room for: found by reading the window.
    LinkIndexFull,
    /// Payloads dropped as the oldest: the spool of their destination was full.
    SpoolFull,
    /// Payloads dropped: their destination did not take them for longer than any is kept.
    SpoolExpired,
    /// Payloads that could not be written to the spool when they should have been: they stay in memory, where a
    /// crash loses them. What is dropped there counts as `queue_full` or `shutdown_undelivered` beside.
    SpoolFailed,
    /// Payloads of the spool that could not be read back, and files of spools that were set aside.
    SpoolDamaged,
    /// Samples: their windows were not named in time when the agent stopped or was started again.
    WindowLate,
    /// Times that nearly all memory of the agent's limit was in use: indices are not kept then, and new names have neither
    /// lines nor inlined calls.
    MemoryShort,
}

impl LossCause {
    /// Every cause, in order of declaration.
    pub const ALL: [Self; 55] = [
        Self::RingFull,
        Self::RingMissing,
        Self::ScratchMissing,
        Self::OffCpuRingFull,
        Self::OffCpuMissed,
        Self::OffCpuUntracked,
        Self::RecordMalformed,
        Self::ProcessUnknown,
        Self::WindowFull,
        Self::CpuUnsampled,
        Self::CpuInterrupted,
        Self::SidebandLost,
        Self::SidebandMalformed,
        Self::SidebandMissing,
        Self::MapFailed,
        Self::ProcessTableFull,
        Self::SelectionFull,
        Self::MappingTableFull,
        Self::MappingUnknown,
        Self::KernelCodeFull,
        Self::RuntimeTableFull,
        Self::ExecutableUnopened,
        Self::ExecutableReplaced,
        Self::ElfMalformed,
        Self::UnwindInfoMissing,
        Self::UnwindInfoMalformed,
        Self::UnwindTableBudget,
        Self::DebugInfoBudget,
        Self::FileUnanswered,
        Self::SymbolsMalformed,
        Self::GoLineTableMalformed,
        Self::GoInlineTreeMalformed,
        Self::KernelSymbolsHidden,
        Self::PerfMapMalformed,
        Self::PipelineBehind,
        Self::SymbolizerBehind,
        Self::QueueFull,
        Self::ReceiverRefused,
        Self::ReceiverRejected,
        Self::ShutdownUndelivered,
        Self::StoreFailed,
        Self::StoreDamaged,
        Self::GoroutineInconsistent,
        Self::ThreadContextUnresolved,
        Self::ProcessContextMalformed,
        Self::LabelCut,
        Self::LabelValues,
        Self::LinkMalformed,
        Self::LinkIndexFull,
        Self::SpoolFull,
        Self::SpoolExpired,
        Self::SpoolFailed,
        Self::SpoolDamaged,
        Self::WindowLate,
        Self::MemoryShort,
    ];

    /// The cause with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
    /// The cause's name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::RingMissing => "ring_missing",
            Self::ScratchMissing => "scratch_missing",
            Self::OffCpuRingFull => "off_cpu_ring_full",
            Self::OffCpuMissed => "off_cpu_missed",
            Self::OffCpuUntracked => "off_cpu_untracked",
            Self::RecordMalformed => "record_malformed",
            Self::ProcessUnknown => "process_unknown",
            Self::WindowFull => "window_full",
            Self::CpuUnsampled => "cpu_unsampled",
            Self::CpuInterrupted => "cpu_interrupted",
            Self::SidebandLost => "sideband_lost",
            Self::SidebandMalformed => "sideband_malformed",
            Self::SidebandMissing => "sideband_missing",
            Self::MapFailed => "map_failed",
            Self::ProcessTableFull => "process_table_full",
            Self::SelectionFull => "selection_full",
            Self::MappingTableFull => "mapping_table_full",
            Self::MappingUnknown => "mapping_unknown",
            Self::KernelCodeFull => "kernel_code_full",
            Self::RuntimeTableFull => "runtime_table_full",
            Self::ExecutableUnopened => "executable_unopened",
            Self::ExecutableReplaced => "executable_replaced",
            Self::ElfMalformed => "elf_malformed",
            Self::UnwindInfoMissing => "unwind_info_missing",
            Self::UnwindInfoMalformed => "unwind_info_malformed",
            Self::UnwindTableBudget => "unwind_table_budget",
            Self::DebugInfoBudget => "debug_info_budget",
            Self::FileUnanswered => "file_unanswered",
            Self::SymbolsMalformed => "symbols_malformed",
            Self::GoLineTableMalformed => "go_line_table_malformed",
            Self::GoInlineTreeMalformed => "go_inline_tree_malformed",
            Self::KernelSymbolsHidden => "kernel_symbols_hidden",
            Self::PerfMapMalformed => "perf_map_malformed",
            Self::PipelineBehind => "pipeline_behind",
            Self::SymbolizerBehind => "symbolizer_behind",
            Self::QueueFull => "queue_full",
            Self::ReceiverRefused => "receiver_refused",
            Self::ReceiverRejected => "receiver_rejected",
            Self::ShutdownUndelivered => "shutdown_undelivered",
            Self::StoreFailed => "store_failed",
            Self::StoreDamaged => "store_damaged",
            Self::GoroutineInconsistent => "goroutine_inconsistent",
            Self::ThreadContextUnresolved => "thread_context_unresolved",
            Self::ProcessContextMalformed => "process_context_malformed",
            Self::LabelCut => "label_cut",
            Self::LabelValues => "label_values",
            Self::LinkMalformed => "link_malformed",
            Self::LinkIndexFull => "link_index_full",
            Self::SpoolFull => "spool_full",
            Self::SpoolExpired => "spool_expired",
            Self::SpoolFailed => "spool_failed",
            Self::SpoolDamaged => "spool_damaged",
            Self::WindowLate => "window_late",
            Self::MemoryShort => "memory_short",
        }
    }
    /// Is a sample gone that was read from a ring, before its window was named?
    #[must_use]
    pub const fn loses_read_samples(self) -> bool {
        matches!(
            self,
            Self::ProcessUnknown | Self::WindowFull | Self::PipelineBehind
        )
    }
    /// Is a sample gone (rather than something about it missing)?
    #[must_use]
    pub const fn loses_samples(self) -> bool {
        matches!(
            self,
            Self::RingFull
                | Self::RingMissing
                | Self::ScratchMissing
                | Self::OffCpuRingFull
                | Self::OffCpuMissed
                | Self::RecordMalformed
                | Self::ProcessUnknown
                | Self::WindowFull
                | Self::PipelineBehind
                | Self::WindowLate
        )
    }
}

const _: () = {
    // A cause that is missing above shifts the ones behind it.
    let mut index = 0;
    while index < LossCause::ALL.len() {
        assert!(LossCause::ALL[index] as usize == index);
        index += 1;
    }
};

/// Counts by cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    counts: BTreeMap<LossCause, u64>,
}

impl Losses {
    /// Counts `count` more of `cause`; zero leaves no entry.
    pub fn add(&mut self, cause: LossCause, count: u64) {
        if count > 0 {
            *self.counts.entry(cause).or_default() += count;
        }
    }
    /// Counts all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (cause, count) in &other.counts {
            self.add(*cause, *count);
        }
    }
    /// How many of `cause`.
    #[must_use]
    pub fn of(&self, cause: LossCause) -> u64 {
        self.counts.get(&cause).copied().unwrap_or(0)
    }
    /// Every cause that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (LossCause, u64)> + '_ {
        self.counts.iter().map(|(cause, count)| (*cause, *count))
    }
    /// How many of all causes together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
    /// Did nothing happen?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
    /// Takes the counts and leaves none.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
