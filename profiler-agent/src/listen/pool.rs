//! Threads for the work on answers: so many at a time, and so much that waits. What hangs holds its own pool and
//! nothing else; nobody joins the threads, which end with the pool and their work.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// Threads of one purpose.
#[derive(Clone, Debug)]
pub struct Pool {
    work: SyncSender<Work>,
}

/// As much waits as may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Pool {
    /// Starts `threads` threads called `name`, for which `waiting` pieces of work may wait.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start(name: &str, threads: usize, waiting: usize) -> io::Result<Self> {
        let (work, received) = sync_channel(waiting.max(1));
        let received = Arc::new(Mutex::new(received));
        for _ in 0..threads.max(1) {
            let received = Arc::clone(&received);
            Builder::new()
                .name(name.to_owned())
                .spawn(move || work_off(&received))?;
        }
        Ok(Self { work })
    }

    /// Has `work` done when its turn comes. The receiver gets its result, or an error where it panicked.
    ///
    /// # Errors
    /// Too much waits already.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Busy> {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            // Who asked may be gone.
            let _ = done.send(work());
        });
        self.work.try_send(work).map_err(|_| Busy)?;
        Ok(result)
    }
}

fn work_off(received: &Mutex<Receiver<Work>>) {
    loop {
        let work = received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(work) = work else { return };
        // The panic is in the log already; it is this answer's alone.
        let _ = catch_unwind(AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_waits_within_bounds_and_panics_alone() {
        let pool = Pool::start("test", 1, 2).unwrap();
        let (go_on, wait) = sync_channel::<()>(0);
        let (started, runs) = sync_channel::<()>(0);
        let first = pool.run(move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
            1
        });
        runs.recv().unwrap();
        let second: oneshot::Receiver<u32> = pool.run(|| panic!("of the test")).unwrap();
        let third = pool.run(|| 3).unwrap();
        assert_eq!(pool.run(|| 4).err(), Some(Busy));
        go_on.send(()).unwrap();
        assert_eq!(first.unwrap().blocking_recv(), Ok(1));
        assert!(second.blocking_recv().is_err());
        assert_eq!(third.blocking_recv(), Ok(3));
    }
}
