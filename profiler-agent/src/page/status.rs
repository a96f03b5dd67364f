//! What the page says of the agent itself.

use std::collections::BTreeMap;

use serde::Serialize;

/// The agent's own numbers, as of the moment of the request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentStatus {
    /// The agent's version.
    pub version: String,
    /// When it was started, in ms since 1970.
    pub started_ms: u64,
    /// CPUs that are sampled.
    pub cpus: u32,
    /// CPU time that it used so far, in seconds.
    pub cpu_seconds: f64,
    /// Part of one CPU that it used over about the last minute; none before there is one.
    pub cpu_share: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Length of a window in seconds.
    pub window_seconds: f64,
    /// Seconds until the current window is closed.
    pub next_window_seconds: Option<f64>,
    /// Samples so far.
    pub samples: u64,
    /// Samples whose stack ended so far.
    pub stacks: u64,
    /// Of those, samples whose stack reached its root.
    pub complete_stacks: u64,
    /// Samples that were lost so far: the causes that lose samples.
    pub lost_samples: u64,
    /// What was lost or degraded so far, by the cause's name.
    pub losses: BTreeMap<String, u64>,
    /// The local store.
    pub store: Option<StoreStatus>,
}

/// How full the local store is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StoreStatus {
    /// Windows.
    pub windows: u64,
    /// Bytes that windows and merged spans take.
    pub used_bytes: u64,
    /// Bytes that merged spans take.
    pub merged_bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Length that the file may have.
    pub max_bytes: u64,
    /// Damaged files that were set aside, with the reason.
    pub set_aside: Vec<String>,
}

/// The answer to `/api/status`.
#[derive(Debug, Serialize)]
pub(super) struct StatusAnswer {
    /// Do new windows keep coming?
    pub(super) live: bool,
    /// The server's clock in ms since 1970.
    pub(super) now: u64,
    /// Earliest start and latest end of what there is, in ms since 1970.
    pub(super) extent: Option<[u64; 2]>,
    /// What can be looked at: `cpu`, `off_cpu`, `wall`.
    pub(super) types: Vec<&'static str>,
    /// Where a person looks at traces, with places for ids.
    pub(super) trace_url: Option<String>,
    /// The agent; none where saved files are shown.
    pub(super) agent: Option<AgentStatus>,
}
