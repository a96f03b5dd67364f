//! The agent's own numbers at one moment, as plain values.
//!
//! Counts are totals since the agent was started and never fall.

use std::time::Duration;

use super::otlp::{ExportCounts, Signal};
use crate::profile::Losses;
use crate::profile::delivery::DeliveryCounts;
use crate::profile::window::OutcomeCounts;

/// Everything that the agent tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The agent's version.
    pub version: String,
    /// When it was started, since 1970.
    pub started: Duration,
    /// Are programs attached, and is it not stopping?
    pub ready: bool,
    /// Is it doing its work?
    pub healthy: bool,
    /// Is the configuration's file in effect as it was read last?
    pub config_in_effect: bool,
    /// Samples read from the rings.
    pub samples: u64,
    /// Those of them whose window is not named yet.
    pub open_samples: u64,
    /// Live processes.
    pub processes: u64,
    /// CPUs of the machine that are online.
    pub cpus: u64,
    /// CPUs among them that are not sampled.
    pub cpus_unsampled: u64,
    /// Windows that were closed and named.
    pub windows: u64,
    /// How long ago the rings were read.
    pub rings_read_age: Duration,
    /// How long ago a window was closed (or the agent started).
    pub window_close_age: Duration,
    /// What was lost or degraded on the way to named windows.
    pub losses: Losses,
    /// How stacks ended.
    pub outcomes: OutcomeCounts,
    /// The same by executable, bounded.
    pub executables: Vec<ExecutableStacks>,
    /// The symbolizer.
    pub symbols: SymbolReading,
    /// Bytes of unwind tables in the kernel.
    pub table_bytes: u64,
    /// Tables that are being built.
    pub tables_pending: u64,
    /// The kernel side's cost.
    pub kernel: KernelReading,
    /// The local store.
    pub store: StoreReading,
    /// Where windows are sent.
    pub destinations: Vec<DestinationReading>,
    /// CPU time used by all threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Requests with the agent's own signals, in the order of [`Signal::ALL`].
    pub exports: [ExportCounts; Signal::ALL.len()],
    /// Log lines that were left out.
    pub suppressed_lines: u64,
}

/// How the stacks of one executable's processes ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutableStacks {
    /// Its file's name; `other` for all that have no entry of their own.
    pub name: String,
    /// Stacks that reached their root.
    pub complete: u64,
    /// Stacks that did not.
    pub incomplete: u64,
}

/// The symbolizer's cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolReading {
    /// Locations that were found in it.
    pub hits: u64,
    /// Locations that were not.
    pub misses: u64,
    /// Locations in it.
    pub locations: u64,
    /// Bytes of its names.
    pub name_bytes: u64,
    /// Bytes of indices into debug information.
    pub index_bytes: u64,
}

/// What the kernel side costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelReading {
    /// Memory of the BPF maps and programs in bytes.
    pub bpf_bytes: u64,
    /// Bytes of the rings among them.
    pub ring_bytes: u64,
    /// How often the sampling program ran and how long that took, where `kernel.bpf_stats_enabled` is set.
    pub runs: Option<(u64, Duration)>,
    /// The same of the programs for time off CPU.
    pub off_cpu_runs: Option<(u64, Duration)>,
}

/// The local store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreReading {
    /// Windows in it.
    pub windows: u64,
    /// Bytes that windows and merged spans take.
    pub used_bytes: u64,
    /// Spans of time whose windows are merged.
    pub merged_spans: u64,
    /// Bytes that they take.
    pub merged_bytes: u64,
    /// Attempts to merge, by how they ended.
    pub merges: Vec<(&'static str, u64)>,
    /// Length of its file.
    pub file_bytes: u64,
    /// Length that the file may have.
    pub limit_bytes: u64,
    /// Samples that it took.
    pub stored_samples: u64,
    /// Samples that it could not take.
    pub lost_samples: u64,
}

/// A destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationReading {
    /// Its name in the configuration.
    pub name: String,
    /// What it did so far and what waits for it.
    pub counts: DeliveryCounts,
    /// How long ago the oldest window that waits for it was closed; zero where none waits.
    pub oldest_age: Duration,
}
