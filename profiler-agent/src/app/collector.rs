//! The thread that everything begins in.
//!
//! Here is its outside: what it is told, how it is started and stopped, what it tells of itself.
//! `turns` is what it does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::economy::{Economy, Shortage};
use super::memory_limit::MemoryLimit;
use super::signals;
use super::tables::CachePlace;
use super::troubles::Troubles;
use super::turns::Running;
use super::wake::Wake;
use crate::collect::error::{Cause, errno_of};
use crate::collect::sideband::open::MappingRecords;
use crate::collect::{CollectError, OffCpu, Selection, Way};
use crate::correlate;
use crate::profile::{ClockPair, LocatedFrame, SamplePeriod, Window, WindowUuid};

/// What the collector is to do.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// What is measured.
    pub kinds: Kinds,
    /// Which processes.
    pub selection: Selection,
    /// The processes selected from the start.
    pub selected: Vec<u32>,
    /// Length of a window.
    pub window: Duration,
    /// What may be taken of memory.
    pub economy: Economy,
    /// The limit of memory, where one is watched.
    pub memory: Option<MemoryLimit>,
    /// Says when it is short.
    pub shortage: Shortage,
    /// How long samples may hold up the end of a window while they wait for unwind tables.
    pub patience: Duration,
    /// How stacks are walked; `None`: the first way that the kernel takes.
    pub way: Option<Way>,
    /// What records of mappings are asked to say: no more than the kernel has.
    pub records: MappingRecords,
    /// Where tables are kept between runs.
    pub table_cache: Option<CachePlace>,
    /// What is kept of labels.
    pub correlation: correlate::Config,
}

/// What is measured, and how often: time on CPUs, time off them, or both.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    /// CPU time between two samples of a CPU.
    pub period: SamplePeriod,
    /// Are samples of running threads kept?
    pub on_cpu: bool,
    /// How samples of threads that do not run are taken, where they are.
    pub off_cpu: Option<OffCpu>,
    /// Does a kernel that cannot tell how long threads are off CPU end it all?
    pub off_cpu_required: bool,
}

/// Why the collector cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The kernel boundary.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// Another system call.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

const fn is_interruption(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::EAGAIN | libc::EINTR))
}

impl CollectorError {
    /// Did a signal interrupt it each time that it was tried?
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        match self {
            Self::Collect(CollectError::Refused(refusal)) => refusal.cause == Cause::Interrupted,
            Self::Collect(error) => is_interruption(errno_of(error)),
            Self::System { source, .. } => is_interruption(source.raw_os_error()),
        }
    }

    /// Is it a missing privilege?
    #[must_use]
    pub fn is_privilege(&self) -> bool {
        match self {
            Self::Collect(error) => error.is_privilege(),
            Self::System { .. } => false,
        }
    }
}

/// What the collector tells of itself while it runs.
#[derive(Debug, Default)]
pub struct CollectorGauges {
    /// Samples located so far.
    pub samples: AtomicU64,
    /// Live processes.
    pub processes: AtomicU64,
    /// Bytes of unwind tables in the kernel.
    pub table_bytes: AtomicU64,
    /// Tables that are being built.
    pub tables_outstanding: AtomicU64,
    /// Boot-clock nanoseconds of the last turn.
    pub last_turn: AtomicU64,
    /// Boot-clock nanoseconds of when the last window was closed, or sampling began.
    pub last_close: AtomicU64,
    /// Bytes of the rings.
    pub ring_bytes: AtomicU64,
    /// Times that the sampling program ran, where the kernel counts.
    pub runs: AtomicU64,
    /// Nanoseconds that took.
    pub run_nanoseconds: AtomicU64,
    /// Times that the programs for time off CPU ran, where the kernel counts.
    pub off_cpu_runs: AtomicU64,
    /// Nanoseconds that took.
    pub off_cpu_nanoseconds: AtomicU64,
    /// CPUs that are online and not sampled.
    pub cpus_unsampled: AtomicU64,
    /// What does not work just now.
    pub troubles: Troubles,
}

/// A running collector.
pub struct Collector {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    wake: Wake,
    /// What it tells of itself.
    pub gauges: Arc<CollectorGauges>,
}

/// A window that was closed, on its way.
#[derive(Debug)]
pub struct ClosedWindow {
    /// The window.
    pub window: Window,
    /// Both clocks when it was closed.
    pub clocks: ClockPair,
    /// Its name for ever.
    pub name: WindowUuid,
    /// Its span.
    pub span: tracing::Span,
}

/// Where windows go.
pub struct WindowSink {
    /// Closed windows.
    pub windows: SyncSender<ClosedWindow>,
    /// Locations that were seen for the first time in the open window.
    pub new_locations: Box<dyn FnMut(Vec<LocatedFrame>) + Send>,
}

impl Collector {
    /// Loads the kernel side, reads the processes, and samples from when this returns.
    pub fn start(config: CollectorConfig, sink: WindowSink) -> Result<Self, CollectorError> {
        let wake = Wake::new().map_err(|source| CollectorError::System {
            what: "eventfd",
            source,
        })?;
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
            .map_err(|source| CollectorError::System {
                what: "starting a thread",
                source,
            })?;
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
