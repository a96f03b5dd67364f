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

    /// Is the agent's memory short?
    pub(super) fn is_short(&self) -> bool {
        (self.is_short)()
    }

    /// Does somebody still wait?
    ///
    /// # Errors
    /// Nobody does.
    pub(super) fn check_wanted(&self) -> Result<(), QueryError> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(QueryError::Cancelled),
            false => Ok(()),
        }
    }

    /// Does somebody still wait, and is there memory?
    ///
    /// # Errors
    /// Nobody does, or there is none.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        self.check_wanted()?;
        match self.is_short() {
            true => Err(QueryError::MemoryShort),
            false => Ok(()),
        }
    }

    /// Checks while work of many small steps is done.
    pub(super) const fn pace(&self) -> Pace<'_> {
        Pace { run: self, done: 0 }
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

/// Work between two checks: bytes of names that are looked at, or frames that are. To look at the memory costs some
/// microseconds.
const STRIDE: usize = 64 << 10;

/// Checks a run each [`STRIDE`] of work.
pub(super) struct Pace<'a> {
    run: &'a Run,
    done: usize,
}

impl Pace<'_> {
    /// Notes so much work.
    ///
    /// # Errors
    /// Those of [`Run::check`].
    pub(super) fn spend(&mut self, work: usize) -> Result<(), QueryError> {
        self.done = self.done.saturating_add(work);
        if self.done < STRIDE {
            return Ok(());
        }
        self.done = 0;
        self.run.check()
    }
}

/// Runs for unit tests.
#[cfg(test)]
pub(super) mod scripted {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Run;

    /// One whose memory is short from so many checks on, and how many there were.
    pub(in crate::page) fn short_after(checks: usize) -> (Run, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        let is_short = move || seen.fetch_add(1, Ordering::Relaxed) >= checks;
        (Run::new(&(Arc::new(is_short) as _)), count)
    }

    /// One that nothing ends.
    pub(in crate::page) fn endless() -> Run {
        short_after(usize::MAX).0
    }
}

#[cfg(test)]
mod tests {
    use super::scripted::short_after;
    use super::{QueryError, STRIDE};

    #[test]
    fn work_is_checked_each_stride_and_not_before() {
        let (run, checks) = short_after(1);
        let mut pace = run.pace();
        let seen = || checks.load(std::sync::atomic::Ordering::Relaxed);
        assert!(pace.spend(STRIDE - 1).is_ok());
        assert_eq!(seen(), 0);
        assert!(pace.spend(1).is_ok());
        assert_eq!(seen(), 1);
        assert!(pace.spend(STRIDE - 1).is_ok());
        assert!(matches!(
            pace.spend(usize::MAX),
            Err(QueryError::MemoryShort)
        ));
        run.cancel();
        assert!(matches!(run.check(), Err(QueryError::Cancelled)));
        assert_eq!(seen(), 2, "whom nobody waits for needs no memory");
    }
}
