//! What was found damaged.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pending::SpanKey;
use crate::profile::WindowId;

/// More windows than a store of any size holds: 18 years of one every ten minutes.
const MOST: usize = 1 << 20;

/// Each window and merged span counts once, however often it is asked for.
#[derive(Debug, Default)]
pub(super) struct Damage {
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    windows: BTreeSet<WindowId>,
    spans: BTreeSet<SpanKey>,
}

impl Damage {
    /// Notes a window that could not be read, and says so the first time.
    pub(super) fn note(&self, id: WindowId, reason: &dyn std::fmt::Display) {
        let mut found = self.lock();
        if found.windows.len() < MOST && found.windows.insert(id) {
            drop(found);
            tracing::warn!(window = id.0, %reason, "a window of the local store is damaged: it is left out");
        }
    }

    /// Notes a merged span that could not be read, and says so the first time.
    pub(super) fn note_span(&self, key: SpanKey, reason: &dyn std::fmt::Display) {
        let mut found = self.lock();
        if found.spans.len() < MOST && found.spans.insert(key) {
            drop(found);
            let (level, start) = (key.level, key.start);
            tracing::warn!(level, start, %reason, "a merged span of the local store is damaged: its windows are read");
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        let found = self.lock();
        (found.windows.len() + found.spans.len()) as u64
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
