//! Samples that are in no window.

use super::super::explanation::explained;

explained! {
    /// Why a sample that was due is in no window.
    SampleLoss {
        RingFull "ring_full" counts "samples"
            what "were dropped because the ring buffer of their CPU was full"
            cause "The kernel side writes samples into one ring buffer per CPU, and the agent drains them five times a second. The \
                   agent did not get CPU time for so long that one filled up: a CPU limit that throttles it, or a machine on \
                   which everything waits for a CPU."
            fix "give the agent more CPU time, or lower the frequency (-F, sampling.frequency)"
        RingMissing "ring_missing" counts "samples"
            what "were taken on a CPU that had no ring buffer yet"
            cause "The CPU came online a moment ago, and the agent gives it a ring buffer within a second."
            fix "nothing, where CPUs come and go; if it keeps growing, restart the agent and report it"
        ScratchMissing "scratch_missing" counts "samples"
            what "were dropped because the kernel side had no memory to assemble them in"
            cause "Each CPU has memory for one sample at a time. It was in use, or the assembled sample was longer than a record \
                   may be."
            fix "lower the frequency (-F, sampling.frequency); if it keeps growing, report it"
        OffCpuRingFull "off_cpu_ring_full" counts "samples"
            what "of time off CPU were dropped because the ring buffer of their CPU was full"
            cause "Threads that block and wake very often make more samples than the agent reads in a fifth of a second."
            fix "raise the threshold (--off-cpu-threshold, sampling.off_cpu.threshold) or lower the probability \
                 (--off-cpu-probability, sampling.off_cpu.probability)"
        OffCpuMissed "off_cpu_missed" counts "samples"
            what "of time off CPU were dropped because the program that takes their stack did not run"
            cause "One program decides at the context switch that a sample is due, a second one takes the stack as soon as the \
                   thread runs. The kernel did not run the second one, as it does not where a kprobe interrupts another."
            fix "nothing, where there are few of them; other tracing tools on the same functions make more"
        RecordMalformed "record_malformed" counts "samples"
            what "could not be decoded"
            cause "A record in a ring buffer is not as the kernel side writes it."
            fix "report it: the agent and its kernel side disagree"
        ProcessUnknown "process_unknown" counts "samples"
            what "are of processes that ended before they could be read"
            cause "The kernel's records of processes that start and end were lost, or came too late, and /proc has no such process \
                   any more."
            fix "give the agent more CPU time; look whether sideband_lost grows too"
        WindowFull "window_full" counts "samples"
            what "were dropped because their window held as many as it may"
            cause "A window is bounded in samples, threads, stacks and frames, so that the agent's memory is. A machine with \
                   very many busy CPUs or threads reaches that bound, and so does a high frequency with long windows."
            fix "lower the frequency (-F, sampling.frequency), shorten sampling.window, or record fewer processes (-p)"
        PipelineBehind "pipeline_behind" counts "samples"
            what "were dropped with their window because the windows before it were not done"
            cause "Symbolizing, storing and encoding a window took longer than a window lasts, several times in a row. The agent \
                   had too little CPU time, or the disk of its store is slow."
            fix "give the agent more CPU time; look at the disk of store.directory; lower the frequency (-F, \
                 sampling.frequency)"
        WindowLate "window_late" counts "samples"
            what "were dropped because their window was not symbolized before the agent stopped"
            cause "A stop, a restart or a change of the configuration waits a bounded time for the last window."
            fix "give the agent more CPU time, and its pod a longer terminationGracePeriodSeconds"
    }
}

impl SampleLoss {
    /// Had the agent read the sample from a ring before it was lost, and was that before its window was named?
    #[must_use]
    pub const fn is_of_read_samples(self) -> bool {
        matches!(
            self,
            Self::ProcessUnknown | Self::WindowFull | Self::PipelineBehind
        )
    }
}
