//! What the stages may take of memory, by the limit that the agent runs under.
//!
//! With [`COMFORTABLE`] or more, and without a limit, each stage has what it works best with. With less all have less, in
//! proportion; what does not fit any more is left out and counted, as it is without a limit. When memory becomes short all
//! the same ([`Economy::is_short`]), this goes until there is room again: tables of whole files that are kept for the next
//! page, indices that are kept between windows, lines and inlined calls of new locations, and queries of the page, which are
//! given up. What samples need, the tables in the kernel and what waits for receivers, stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::page;
use crate::store;
use crate::symbolize::SymbolizeConfig;

/// From here on nothing is spared: what `deploy/daemonset.yaml` gives the agent.
const COMFORTABLE: u64 = 256 << 20;
/// The least part of what there is with that.
const LEAST: u64 = COMFORTABLE / 8;
/// Memory is short from so many sixteenths of the limit on, and until fewer than so many are in use.
const PARTS: u64 = 16;
const SHORT_FROM: u64 = 14;
const SHORT_UNTIL: u64 = 12;

/// Is memory short? Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Shortage(Arc<AtomicBool>);

impl Shortage {
    /// Is it?
    #[must_use]
    pub fn is_now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for stages that know nothing of economy.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Says whether it is; true when that is new.
    pub(super) fn set(&self, short: bool) -> bool {
        self.0.swap(short, Ordering::Relaxed) != short
    }
}

/// See the module. Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Economy {
    /// Unwind tables in the kernel.
    pub kernel_tables: u64,
    /// Tables of whole files that are kept for the next page.
    pub whole_tables: usize,
    /// Samples that wait for the end of an earlier window, with their frames and labels.
    pub waiting_samples: usize,
    /// Stacks that wait for tables.
    pub waiting_stacks: usize,
    /// Samples that wait for texts of their labels.
    pub waiting_labels: usize,
    /// What merging the store's windows takes.
    pub merging: usize,
    /// What names cost.
    pub names: SymbolizeConfig,
    /// What queries of the page cost.
    pub queries: page::Limits,
}

impl Economy {
    /// What there is for a process that may have `limit` bytes, where `kernel_tables` are wished for in the kernel.
    #[must_use]
    pub fn within(limit: Option<u64>, kernel_tables: u64) -> Self {
        let limit = limit.unwrap_or(COMFORTABLE).clamp(LEAST, COMFORTABLE);
        let part = |bytes: u64| bytes * (limit >> 20) / (COMFORTABLE >> 20);
        let part_of = |bytes: usize| usize::try_from(part(bytes as u64)).unwrap_or(bytes);
        let names = SymbolizeConfig::default();
        let queries = page::Limits::AGENT;
        Self {
            kernel_tables: part(kernel_tables),
            whole_tables: part_of(32 << 20),
            waiting_samples: part_of(64 << 20),
            waiting_stacks: part_of(16 << 20),
            waiting_labels: part_of(8 << 20),
            merging: part_of(store::Limits::MERGE_BYTES),
            names: SymbolizeConfig {
                cache_bytes: part_of(names.cache_bytes),
                index_bytes: part_of(names.index_bytes),
                decompressed_bytes: part(names.decompressed_bytes),
                ..names
            },
            queries: page::Limits {
                frames: part_of(queries.frames),
                name_bytes: part_of(queries.name_bytes),
                kept_frames: part_of(queries.kept_frames),
                kept_name_bytes: part_of(queries.kept_name_bytes),
                profile_bytes: part_of(queries.profile_bytes),
                text_bytes: part_of(queries.text_bytes),
                ..queries
            },
        }
    }

    /// Is memory short, with so much of the limit in use? Where it was, more has to be free than where it was not.
    #[must_use]
    pub const fn is_short(limit: u64, used: u64, was_short: bool) -> bool {
        let parts = if was_short { SHORT_UNTIL } else { SHORT_FROM };
        used >= limit / PARTS * parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn without_a_limit_and_with_a_comfortable_one_nothing_is_spared() {
        let free = Economy::within(None, 48 * MIB);
        assert_eq!(free, Economy::within(Some(1 << 40), 48 * MIB));
        assert_eq!(free, Economy::within(Some(256 * MIB), 48 * MIB));
        assert_eq!(free.names, SymbolizeConfig::default());
        assert_eq!(free.queries, page::Limits::AGENT);
        assert_eq!(free.kernel_tables, 48 * MIB);
        assert_eq!(free.merging, store::Limits::MERGE_BYTES);
    }

    #[test]
    fn with_less_each_has_less_and_never_nothing() {
        for limit in [0, 32, 64, 128, 200] {
            let less = Economy::within(Some(limit * MIB), 48 * MIB);
            let free = Economy::within(None, 48 * MIB);
            assert!(less.kernel_tables < free.kernel_tables, "{limit}");
            assert!(less.kernel_tables >= 6 * MIB, "{limit}");
            assert!(less.names.index_bytes >= 2 << 20, "{limit}");
            assert!(less.queries.frames > 0, "{limit}");
        }
    }

    #[test]
    fn memory_is_short_with_seven_eighths_of_it_in_use_until_a_quarter_is_free() {
        assert!(!Economy::is_short(64 * MIB, 56 * MIB - 1, false));
        assert!(Economy::is_short(64 * MIB, 56 * MIB, false));
        assert!(Economy::is_short(64 * MIB, 48 * MIB, true));
        assert!(!Economy::is_short(64 * MIB, 48 * MIB - 1, true));
    }
}
