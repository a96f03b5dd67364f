//! One query's run: whether anybody still waits for it, and what it had to leave out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::engine::QueryError;
use crate::profile::WindowId;

/// What the run and the one who waits for it share.
#[derive(Debug, Default)]
pub(super) struct Run {
    cancelled: AtomicBool,
    damaged: Mutex<BTreeSet<WindowId>>,
}

impl Run {
    /// Nobody waits any more.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Does somebody still wait?
    ///
    /// # Errors
    /// Nobody does.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(QueryError::Cancelled),
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
