//! Windows that were found damaged.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::profile::WindowId;

/// More windows than a store of any size holds: 18 years of one every ten minutes.
const MOST: usize = 1 << 20;

/// Each counts once, however often it is asked for.
#[derive(Debug, Default)]
pub(super) struct Damage {
    windows: Mutex<BTreeSet<WindowId>>,
}

impl Damage {
    /// Notes a window that could not be read, and says so the first time.
    pub(super) fn note(&self, id: WindowId, reason: &dyn std::fmt::Display) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() < MOST && windows.insert(id) {
            drop(windows);
            tracing::warn!(window = id.0, %reason, "a window of the local store is damaged: it is left out");
        }
    }

    /// How many there are.
    pub(super) fn windows(&self) -> u64 {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.len() as u64
    }
}
