//! One query's run: whether anybody still waits for it, and what it had to leave out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::IsShort;
use super::engine::QueryError;
use crate::profile::WindowId;

/// What the run and the one who waits for it share.
pub(super) struct Run {
    /// Is the agent's memory short?
    is_short: IsShort,
    cancelled: AtomicBool,
    damaged: Mutex<BTreeSet<WindowId>>,
}

impl Run {
    /// One that somebody waits for.
    pub(super) fn new(is_short: &IsShort) -> Self {
        Self {
            is_short: Arc::clone(is_short),
            cancelled: AtomicBool::default(),
            damaged: Mutex::default(),
        }
    }

    /// Nobody waits any more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Does somebody still wait, and is there memory?
    ///
    /// # Errors
    /// Nobody does, or there is none.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        match (self.is_short)() {
            true => Err(QueryError::MemoryShort),
            false => Ok(()),
        }
    }

    /// Notes windows that are left out because they are damaged.
    pub(super) fn leave_out(&self, windows: impl IntoIterator<Item = WindowId>) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.extend(windows);
    }

    /// The windows that were left out.
    pub(super) fn damaged(&self) -> BTreeSet<WindowId> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.clone()
    }
}
