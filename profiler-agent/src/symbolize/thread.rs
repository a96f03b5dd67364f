//! The symbolizer on a thread of its own, off the sampling path.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::config::SymbolizeConfig;
use super::symbolizer::{Symbolizer, SymbolizerUsage};
use crate::profile::{ClockPair, Degradation, LocatedFrame, Profile, Window};

/// Windows that may wait.
const WINDOW_QUEUE: usize = 2;

enum Request {
    Prefetch(Vec<LocatedFrame>),
    Resolve(Box<Resolve>),
}

struct Resolve {
    window: Window,
    clocks: ClockPair,
    reply: SyncSender<Profile>,
    /// The span that asked.
    span: tracing::Span,
}

/// Asks a symbolizer thread; the thread ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct SymbolizerHandle {
    requests: SyncSender<Request>,
    dropped: Arc<AtomicU64>,
    hurry: Arc<AtomicBool>,
    usage: SharedUsage,
}

/// What a symbolizer's thread held after its last window; it does not keep the thread from ending.
#[derive(Clone, Debug, Default)]
pub struct SharedUsage(Arc<Mutex<SymbolizerUsage>>);

impl SharedUsage {
    /// The numbers.
    #[must_use]
    pub fn read(&self) -> SymbolizerUsage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, usage: SymbolizerUsage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }
}

/// Makes a symbolizer's thread hurry.
#[derive(Clone, Debug)]
pub struct Hurry(Arc<AtomicBool>);

impl Hurry {
    /// From now on no file is read any more: what has no name yet gets one of file and offset, and
    /// is counted. For an agent that has to end.
    pub fn up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A profile that is being made.
#[derive(Debug)]
pub struct PendingProfile(Receiver<Profile>);

/// The symbolizer's thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the symbolizer's thread has ended")]
pub struct SymbolizerGone;

/// Starts symbolizer threads.
#[derive(Debug)]
pub struct SymbolizerThread {
    thread: JoinHandle<()>,
}

impl SymbolizerThread {
    /// Starts a thread, called `symbolizer`. While `spare` is set it keeps nothing between windows and reads neither lines nor
    /// inlined calls.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn spawn(
        config: SymbolizeConfig,
        spare: Arc<AtomicBool>,
    ) -> io::Result<(Self, SymbolizerHandle)> {
        let (sender, requests) = sync_channel(config.prefetch_queue + WINDOW_QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let handle = SymbolizerHandle {
            requests: sender,
            dropped: Arc::clone(&dropped),
            hurry: Arc::default(),
            usage: SharedUsage::default(),
        };
        let hurry = Arc::clone(&handle.hurry);
        let usage = handle.usage.clone();
        let thread = Builder::new()
            .name("symbolizer".to_owned())
            .spawn(move || serve(&config, &requests, &dropped, (hurry, spare), &usage))?;
        Ok((Self { thread }, handle))
    }

    /// Waits for the thread to end, after every handle was dropped.
    ///
    /// # Errors
    /// [`SymbolizerGone`] when it panicked.
    pub fn join(self) -> Result<(), SymbolizerGone> {
        self.thread.join().map_err(|_| SymbolizerGone)
    }
}

fn serve(
    config: &SymbolizeConfig,
    requests: &Receiver<Request>,
    dropped: &AtomicU64,
    (hurry, spare): (Arc<AtomicBool>, Arc<AtomicBool>),
    usage: &SharedUsage,
) {
    let mut symbolizer = Symbolizer::with_hurry(config, hurry);
    for request in requests {
        match request {
            Request::Prefetch(frames) => symbolizer.prefetch(&frames),
            Request::Resolve(resolve) => {
                let Resolve {
                    window,
                    clocks,
                    reply,
                    span,
                } = *resolve;
                let locations = window.locations.len();
                let span = tracing::trace_span!(parent: &span, "symbolize", locations);
                let _entered = span.enter();
                symbolizer.spare(spare.load(Ordering::Relaxed));
                let mut profile = symbolizer.resolve(&window, &clocks);
                profile.losses.add(
                    Degradation::SymbolizerBehind,
                    dropped.swap(0, Ordering::Relaxed),
                );
                usage.write(symbolizer.usage());
                // Nobody waits for it any more: the agent is stopping.
                drop(reply.send(profile));
            }
        }
    }
}

impl SymbolizerHandle {
    /// Announces locations that were seen for the first time. Never waits: when the queue is full
    /// they are counted ([`Degradation::SymbolizerBehind`] of the next profile) and named at the window's end.
    pub fn prefetch(&self, frames: Vec<LocatedFrame>) {
        let count = frames.len() as u64;
        if let Err(TrySendError::Full(_)) = self.requests.try_send(Request::Prefetch(frames)) {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What makes the thread hurry; it does not keep the thread from ending.
    #[must_use]
    pub fn hurry(&self) -> Hurry {
        Hurry(Arc::clone(&self.hurry))
    }

    /// Where the thread tells what it holds.
    #[must_use]
    pub fn usage(&self) -> SharedUsage {
        self.usage.clone()
    }

    /// Hands a window over; waits only while the queue is full.
    ///
    /// # Errors
    /// [`SymbolizerGone`] when the thread has ended.
    pub fn resolve(
        &self,
        window: Window,
        clocks: ClockPair,
    ) -> Result<PendingProfile, SymbolizerGone> {
        let (reply, profile) = sync_channel(1);
        self.requests
            .send(Request::Resolve(Box::new(Resolve {
                window,
                clocks,
                reply,
                span: tracing::Span::current(),
            })))
            .map_err(|_| SymbolizerGone)?;
        Ok(PendingProfile(profile))
    }
}

impl PendingProfile {
    /// Waits for the profile.
    ///
    /// # Errors
    /// [`SymbolizerGone`] when the thread ended before it was made.
    pub fn wait(self) -> Result<Profile, SymbolizerGone> {
        self.0.recv().map_err(|_| SymbolizerGone)
    }
}
