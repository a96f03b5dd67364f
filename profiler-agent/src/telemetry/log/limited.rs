//! Applies the limit to the events of an output.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hashbrown::HashMap;
use tracing::Event;
use tracing::callsite::Identifier;

use crate::telemetry::limit::{Site, Verdict};

/// Lines that were left out so far.
static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

/// Lines that were left out so far, of standard error and of OTLP.
pub(super) fn suppressed() -> u64 {
    SUPPRESSED.load(Ordering::Relaxed)
}

/// Lets no place write too many lines to an output. There are at most as many sites as events in the source.
///
/// It is asked where the output would write, not as a filter: one that turns single events away leaves the state of
/// tracing-subscriber's filters behind for the next event.
#[derive(Debug)]
pub(in crate::telemetry) struct Limited {
    start: Instant,
    sites: Mutex<HashMap<Identifier, Site>>,
}

impl Default for Limited {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            sites: Mutex::default(),
        }
    }
}

impl Limited {
    /// Judges an event now.
    pub(in crate::telemetry) fn judge(&self, event: &Event<'_>) -> Verdict {
        let now = self.start.elapsed();
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let site = sites.entry(event.metadata().callsite()).or_default();
        let verdict = site.judge(now);
        if verdict == Verdict::Suppress {
            SUPPRESSED.fetch_add(1, Ordering::Relaxed);
        }
        verdict
    }
}
