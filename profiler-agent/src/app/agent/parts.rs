//! What the daemon's parts are told.

use std::sync::Arc;
use std::time::Duration;

use super::NAMING;
use crate::app::collector::{CollectorConfig, Kinds};
use crate::app::economy::{Economy, Shortage};
use crate::app::memory_limit::MemoryLimit;
use crate::collect::Selection;
use crate::collect::sideband::open::MappingRecords;
use crate::config::AgentConfig;
use crate::inspect::CachePlace;
use crate::page::IsShort;
use crate::profile::SamplePeriod;

/// How long samples may hold up the end of a window while they wait for unwind tables.
const PATIENCE: Duration = Duration::from_millis(500);
const _: () = assert!(PATIENCE.as_nanos() < NAMING.as_nanos());

/// Looks at the memory that is in use, where there is a limit.
pub(super) fn is_short(memory: Option<MemoryLimit>) -> IsShort {
    Arc::new(move || memory.as_ref().is_some_and(|limit| limit.is_short_with(0)))
}

/// What the collector of a daemon with this configuration is to do.
pub(super) fn collector_config(
    config: &AgentConfig,
    economy: Economy,
    memory: Option<MemoryLimit>,
    shortage: Shortage,
) -> CollectorConfig {
    let directory = &config.tables.cache_directory;
    CollectorConfig {
        kinds: Kinds {
            period: SamplePeriod::from_hertz(config.sampling.frequency),
            on_cpu: true,
            off_cpu: config.sampling.off_cpu.options(),
            off_cpu_required: false,
        },
        selection: Selection::All,
        selected: Vec::new(),
        window: config.sampling.window.0,
        economy,
        memory,
        shortage,
        records: MappingRecords::BuildId,
        table_cache: (!directory.as_os_str().is_empty()).then(|| CachePlace {
            directory: directory.clone(),
            max_bytes: config.tables.cache_max_size.0,
        }),
        patience: PATIENCE,
        way: None,
        correlation: config.labels.correlation(),
    }
}
