//! Work on files of others, on threads that can be left behind.
//!
//! A thread that waits for a file system cannot be interrupted. It is waited for as long as its caller can
//! afford, then left behind: it holds what it was given, and ends when the file system answers or the agent does.
//! Nothing joins it. The number of those that were left behind is bounded; when so many hang, nothing is begun any
//! more until one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use crate::profile::{Degradation, Losses};

/// Starts work that may hang. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Attempts {
    running: Arc<AtomicUsize>,
    most: usize,
    name: &'static str,
}

/// Why there is no result.
#[derive(Debug)]
pub enum Unfinished {
    /// It took longer than its caller waited.
    Late(Straggler),
    /// It panicked.
    Panicked,
    /// It was not begun: too much of what was begun before still hangs, or the system has no room for a thread.
    Full,
}

/// Work that was left behind.
#[derive(Debug)]
pub struct Straggler(Arc<Running>);

/// Counts a thread while it runs.
#[derive(Debug)]
struct Running {
    count: Arc<AtomicUsize>,
    over: std::sync::atomic::AtomicBool,
}

/// Ends the count when the work ends, in whatever way.
struct Ends(Arc<Running>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        self.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Unfinished {
    /// Counts it, and gives what was left behind.
    pub fn count(self, losses: &mut Losses) -> Option<Straggler> {
        losses.add(Degradation::FileUnanswered, 1);
        match self {
            Self::Late(straggler) => Some(straggler),
            Self::Panicked | Self::Full => None,
        }
    }
}

impl Straggler {
    /// Has it ended since?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }
}

impl Attempts {
    /// Work of which at most `most` runs at a time, on threads of this name.
    #[must_use]
    pub fn new(name: &'static str, most: usize) -> Self {
        Self {
            running: Arc::default(),
            most,
            name,
        }
    }

    /// Does so much run that nothing is begun?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.running.load(Ordering::Acquire) >= self.most
    }

    /// The result of `work`, if it comes within `patience`.
    ///
    /// # Errors
    /// Why it does not; the work may still be running then.
    pub fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        if self.running.fetch_add(1, Ordering::AcqRel) >= self.most {
            self.running.fetch_sub(1, Ordering::AcqRel);
            return Err(Unfinished::Full);
        }
        let running = Arc::new(Running {
            count: Arc::clone(&self.running),
            over: false.into(),
        });
        let ends = Ends(Arc::clone(&running));
        let (reply, result) = sync_channel(1);
        let spawned = Builder::new().name(self.name.to_owned()).spawn(move || {
            let result = work();
            drop(ends);
            // Nobody waits for it any more: it was left behind.
            drop(reply.send(result));
        });
        if spawned.is_err() {
            return Err(Unfinished::Full);
        }
        match result.recv_timeout(patience) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Timeout) => Err(Unfinished::Late(Straggler(running))),
            Err(RecvTimeoutError::Disconnected) => Err(Unfinished::Panicked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn what_hangs_is_left_behind_and_counts_until_it_ends() {
        let attempts = Attempts::new("test", 1);
        assert_eq!(attempts.run(LONG, || 7).unwrap(), 7);
        let (release, held) = sync_channel::<()>(0);
        let hung = attempts.run(Duration::ZERO, move || held.recv().is_ok());
        let Err(Unfinished::Late(straggler)) = hung else {
            panic!("{hung:?}");
        };
        assert!(!straggler.is_over());
        assert!(matches!(attempts.run(LONG, || 7), Err(Unfinished::Full)));
        release.send(()).unwrap();
        while !straggler.is_over() {
            std::thread::yield_now();
        }
        assert_eq!(attempts.run(LONG, || 7).unwrap(), 7);
    }

    #[test]
    fn what_panics_is_no_result_and_leaves_room() {
        let attempts = Attempts::new("test", 1);
        for _ in 0..3 {
            let failed = attempts.run(LONG, || panic!("as a test wants it"));
            assert!(matches!(failed, Err::<(), _>(Unfinished::Panicked)));
        }
    }
}
