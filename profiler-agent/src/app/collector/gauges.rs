//! What the collector tells of itself.

use std::sync::atomic::AtomicU64;

use crate::app::troubles::Troubles;

/// What the collector tells of itself while it runs.
#[derive(Debug, Default)]
pub struct CollectorGauges {
    /// Samples located so far.
    pub samples: AtomicU64,
    /// Live processes.
    pub processes: AtomicU64,
    /// Bytes of unwind tables in the kernel.
    pub table_bytes: AtomicU64,
    /// Tables that are being built.
    pub tables_outstanding: AtomicU64,
    /// Boot-clock nanoseconds of the last turn.
    pub last_turn: AtomicU64,
    /// Boot-clock nanoseconds of when the last window was closed, or sampling began.
    pub last_close: AtomicU64,
    /// Bytes of the rings.
    pub ring_bytes: AtomicU64,
    /// Times that the sampling program ran, where the kernel counts.
    pub runs: AtomicU64,
    /// Nanoseconds that took.
    pub run_nanoseconds: AtomicU64,
    /// Times that the programs for time off CPU ran, where the kernel counts.
    pub off_cpu_runs: AtomicU64,
    /// Nanoseconds that took.
    pub off_cpu_nanoseconds: AtomicU64,
    /// CPUs that are online and not sampled.
    pub cpus_unsampled: AtomicU64,
    /// What does not work just now.
    pub troubles: Troubles,
}
