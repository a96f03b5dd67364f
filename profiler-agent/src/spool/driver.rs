//! Does what a queue says, on the agent's runtime.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::machine::{Event, Record};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::profile::payload::DeliveryCounts;
use crate::profile::{Delivery, DeliveryCause, Destination, Payload};

/// Where payloads for one destination are pushed.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Adds payloads; never waits, neither for the destination nor for the disk. Any thread may do it.
    pub fn push(&self, payloads: impl IntoIterator<Item = Payload>) {
        self.shared.push(payloads);
    }
    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        self.shared.counts()
    }
    /// Has the queue ended? Its numbers do not change any more then.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.has_ended()
    }
}

/// Delivers what is pushed.
#[derive(Debug)]
pub struct Driver<D> {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
    pub(super) destination: Arc<D>,
    /// How long closing the spool may take.
    pub(super) closing: Duration,
    /// The end of the disk's thread.
    pub(super) disk: Option<oneshot::Receiver<()>>,
}

impl<D> Drop for Driver<D> {
    /// The disk's thread ends with it.
    fn drop(&mut self) {
        self.shared.ask(None);
    }
}

/// One attempt's end.
type Ended = (Record, Delivery, Duration);

impl<D: Destination> Driver<D> {
    /// Delivers what is pushed until `shutdown` ends; then what is left, for at most `flush`. What is undelivered then
    /// is written to disk; where there is none it counts as lost.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, flush: Duration) {
        let mut shutdown = pin!(shutdown);
        let mut is_stopping = false;
        let mut attempts = Attempts::default();
        let mut trouble = Trouble::new(self.name.clone());
        self.shared.event(Event::Tick);
        loop {
            let work = self.shared.work();
            for record in work.abandon {
                attempts.abandon(record);
            }
            for (record, payload) in work.send {
                attempts.start(record, payload, &self.destination);
            }
            if work.ended {
                break;
            }
            tokio::select! {
                Some((record, delivery, took)) = attempts.next() => {
                    trouble.note(&delivery);
                    self.shared.finished(record, &delivery, took, chance());
                }
                () = self.shared.changed.notified() => {}
                () = reached(work.due) => self.shared.event(Event::Tick),
                () = &mut shutdown, if !is_stopping => {
                    is_stopping = true;
                    self.shared.event(Event::Shutdown(flush));
                }
            }
        }
        self.close().await;
    }

    /// Ends the disk's thread: what is on disk is safe when the file is closed.
    async fn close(&mut self) {
        let counts = self.shared.counts();
        let lost = counts
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads;
        let kept = counts.waiting;
        if lost > 0 || kept > 0 {
            let destination = &self.name;
            tracing::warn!(%destination, kept, lost, "stopped before all was delivered");
        }
        self.shared.ask(None);
        if let Some(disk) = self.disk.take()
            && timeout(self.closing, disk).await.is_err()
        {
            let destination = &self.name;
            tracing::warn!(%destination, "the spool is not closed in time");
        }
    }
}

/// The attempts that are under way.
#[derive(Debug, Default)]
struct Attempts {
    tasks: JoinSet<Ended>,
    /// Which record a task is about, for those that do not end by themselves.
    records: HashMap<tokio::task::Id, (Record, AbortHandle)>,
}

impl Attempts {
    fn start<D: Destination>(
        &mut self,
        record: Record,
        payload: Arc<Payload>,
        destination: &Arc<D>,
    ) {
        let destination = Arc::clone(destination);
        let task = self.tasks.spawn(async move {
            let start = Instant::now();
            let delivery = destination.send(payload).await;
            (record, delivery, start.elapsed())
        });
        self.records.insert(task.id(), (record, task));
    }

    fn abandon(&mut self, record: Record) {
        for (_, task) in self.records.values().filter(|(other, _)| *other == record) {
            task.abort();
        }
    }

    /// The next attempt that ends; `None` at once when there is none.
    async fn next(&mut self) -> Option<Ended> {
        loop {
            match self.tasks.join_next_with_id().await? {
                Ok((id, ended)) => {
                    self.records.remove(&id);
                    return Some(ended);
                }
                Err(error) => {
                    let record = self.records.remove(&error.id());
                    if let Some((record, _)) = record.filter(|_| error.is_panic()) {
                        let message = "the sender panicked".to_owned();
                        let delivery = Delivery::Retry {
                            after: None,
                            message,
                        };
                        return Some((record, delivery, Duration::ZERO));
                    }
                }
            }
        }
    }
}

/// Waits for the moment; for ever where there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A number in 0..1, for jitter.
fn chance() -> f64 {
    // Every hasher of the standard library has keys of its own.
    let random = RandomState::new().hash_one(());
    (random >> 11) as f64 / (1u64 << 53) as f64
}
