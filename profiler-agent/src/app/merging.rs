//! The thread that merges the store's windows, beside everything else: it takes a small share of one CPU, and of that
//! only what nobody else wants.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::allocator::give_memory_back;
use super::codec::decode_window;
use super::economy::Shortage;
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
    /// Starts it: it takes about `most` bytes of memory, and rests while memory is short.
    pub(super) fn start(store: Arc<Store>, most: usize, shortage: Shortage) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (awake, dropped) = channel();
        let stopping = Arc::clone(&stop);
        let thread = Builder::new()
            .name("merge".to_owned())
            .spawn(move || run(&store, (most, &shortage), (&stopping, &dropped)))?;
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

fn run(
    store: &Store,
    (most, shortage): (usize, &Shortage),
    (stop, dropped): (&AtomicBool, &Receiver<()>),
) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "windows are merged at the priority of the agent");
    }
    loop {
        let began = Instant::now();
        let merged = match shortage.is_now() {
            true => Ok(None),
            false => store.merge_next(&decode_window, (most, stop)),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::yield_now;

    use super::{Merging, Shortage};
    use crate::app::codec::encode_window;
    use crate::profile::example::example;
    use crate::profile::{UnixTime, WindowArchive, WindowLinks, WindowSummary};
    use crate::store::{Limits, MergeOutcome, Store};

    #[test]
    fn what_is_over_is_merged_beside_everything_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path(), Limits::default()).unwrap());
        let profile = example();
        let (summary, links) = (WindowSummary::of(&profile), WindowLinks::of(&profile));
        let bytes = encode_window(&profile).unwrap();
        for number in 0..10u64 {
            let time = |seconds| UnixTime(seconds * 1_000_000_000);
            let (start, end) = (time(number * 10), time(number * 10 + 10));
            store.append(start, end, &summary, &links, &bytes).unwrap();
        }
        let merging =
            Merging::start(Arc::clone(&store), Limits::MERGE_BYTES, Shortage::default()).unwrap();
        while store.merges().of(MergeOutcome::Merged) == 0 {
            yield_now();
        }
        drop(merging);
        // The thread is gone, and with it what it had of the store.
        assert_eq!(Arc::strong_count(&store), 1);
        let spans = store.merged_spans(UnixTime(0), UnixTime(u64::MAX)).unwrap();
        let merged = store.read_merged(&spans[0]).unwrap().unwrap();
        assert_eq!(merged.sample_count(), 6 * profile.sample_count());
    }
}
