//! The thread that everything begins in.
//!
//! Here is its outside: how it is started and stopped. What it is told and what it tells are modules of their own, which
//! `turns`, what it does, knows too.

mod config;
mod error;
mod gauges;
mod sink;
mod turns;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

pub use self::config::{CollectorConfig, Kinds};
pub use self::error::CollectorError;
use self::error::system;
pub use self::gauges::CollectorGauges;
pub use self::sink::{ClosedWindow, WindowSink};
use self::turns::Running;
use super::signals;
use super::wake::Wake;

/// A running collector.
pub struct Collector {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    wake: Wake,
    /// What it tells of itself.
    pub gauges: Arc<CollectorGauges>,
}

impl Collector {
    /// Loads the kernel side, reads the processes, and samples from when this returns.
    pub fn start(config: CollectorConfig, sink: WindowSink) -> Result<Self, CollectorError> {
        let wake = Wake::new().map_err(system("eventfd"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let gauges = Arc::new(CollectorGauges::default());
        // The verifier gives a program up when a signal is pending for its thread.
        let started =
            signals::blocked(|| Running::start(config, sink, wake.clone(), Arc::clone(&gauges)));
        let mut running = started?;
        let stop_seen = Arc::clone(&stop);
        let thread = Builder::new()
            .name("collector".to_owned())
            .spawn(move || running.run(&stop_seen))
            .map_err(system("starting a thread"))?;
        Ok(Self {
            thread: Some(thread),
            stop,
            wake,
            gauges,
        })
    }

    /// Stops sampling, reads what is in the rings, closes the last window.
    ///
    /// # Errors
    /// The thread panicked.
    pub fn stop(mut self) -> Result<(), CollectorError> {
        self.stop.store(true, Ordering::Release);
        self.wake.wake();
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(CollectorError::System {
                what: "the collector thread panicked",
                source: io::ErrorKind::Other.into(),
            }),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Has the thread ended by itself? It does only by a panic.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
