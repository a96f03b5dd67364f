//! The thread that merges the store's windows, beside everything else: it takes a small share of one CPU, and of that
//! only what nobody else wants.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::codec::decode_pprof;
use super::economy::Shortage;
use super::pipeline::give_memory_back;
use crate::store::Store;

/// It rests as many times as long as it worked: 3 % of a CPU, while there is much to merge.
const REST: u32 = 32;
/// How long it waits where there is nothing to merge.
const IDLE: Duration = Duration::from_secs(5);
/// The least of all priorities.
const NICE: i32 = 19;

/// The thread while it runs: it ends when this is dropped.
pub(super) struct Merging {
    stop: Arc<AtomicBool>,
    awake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Merging {
    /// Starts it.
    pub(super) fn start(store: Arc<Store>, shortage: Shortage) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (awake, dropped) = channel();
        let stopping = Arc::clone(&stop);
        let thread = Builder::new()
            .name("merge".to_owned())
            .spawn(move || run(&store, &shortage, (&stopping, &dropped)))?;
        Ok(Self {
            stop,
            awake: Some(awake),
            thread: Some(thread),
        })
    }
}

impl Drop for Merging {
    /// Waits for what is being merged, which is given up.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.awake.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that merges windows ended unexpectedly");
        }
    }
}

fn run(store: &Store, shortage: &Shortage, (stop, dropped): (&AtomicBool, &Receiver<()>)) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "windows are merged at the priority of the agent");
    }
    loop {
        let began = Instant::now();
        let merged = match shortage.is_now() {
            true => Ok(None),
            false => store.merge_next(&decode_pprof, stop),
        };
        let rest = match merged {
            Ok(Some(_)) => began.elapsed() * REST,
            Ok(None) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "windows of the local store are not merged");
                IDLE
            }
        };
        give_memory_back();
        if dropped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
