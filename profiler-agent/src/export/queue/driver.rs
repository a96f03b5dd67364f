//! Does what a [`Queue`] says.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::state::{Next, Queue};
use crate::profile::payload::DeliveryCounts;
use crate::profile::{Delivery, Destination, Payload};

/// A queue that several tasks share.
#[derive(Clone, Debug)]
pub struct QueueHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    pushed: Notify,
}

impl QueueHandle {
    /// Shares a queue; [`run`] delivers what is pushed.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::new(queue),
                pushed: Notify::new(),
            }),
        }
    }
    /// Adds a payload; never waits.
    pub fn push(&self, payload: Payload) {
        self.queue().push(payload);
        self.shared.pushed.notify_one();
    }
    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        self.queue().counts()
    }
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No operation on a queue leaves it inconsistent when it panics.
        let queue = self.shared.queue.lock();
        queue.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delivers what is pushed until `shutdown` ends; then what is left, for at most `flush`, and
/// counts the rest as undelivered. `name` is the destination in log messages.
pub async fn run(
    name: &str,
    handle: &QueueHandle,
    destination: &impl Destination,
    shutdown: impl Future<Output = ()>,
    flush: Duration,
) {
    let pushed = &handle.shared.pushed;
    let mut shutdown = pin!(shutdown);
    let mut deadline: Option<Instant> = None;
    let mut trouble = Trouble { name, since: None };
    loop {
        // The guard must not live across an await.
        let next = handle.queue().next(Instant::now().into_std());
        match next {
            Next::Send(payload) => {
                let mut attempt = pin!(destination.send(payload));
                let delivery = loop {
                    tokio::select! {
                        delivery = &mut attempt => break delivery,
                        () = &mut shutdown, if deadline.is_none() => {
                            deadline = Some(Instant::now() + flush);
                        }
                        () = reached(deadline) => return give_up(name, handle),
                    }
                };
                trouble.log(&delivery);
                let now = Instant::now().into_std();
                handle.queue().finished(&delivery, now, chance());
            }
            Next::Wait(at) => {
                let at = Instant::from_std(at);
                if deadline.is_some_and(|deadline| at >= deadline) {
                    return give_up(name, handle);
                }
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = pushed.notified() => {}
                    () = &mut shutdown, if deadline.is_none() => {
                        deadline = Some(Instant::now() + flush);
                        handle.queue().hurry();
                    }
                }
            }
            Next::Idle => {
                if deadline.is_some() {
                    return give_up(name, handle);
                }
                tokio::select! {
                    () = pushed.notified() => {}
                    () = &mut shutdown => deadline = Some(Instant::now() + flush),
                }
            }
        }
    }
}

/// Waits for the deadline; for ever where there is none.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn give_up(name: &str, handle: &QueueHandle) {
    let payloads = handle.counts().waiting;
    if payloads > 0 {
        tracing::warn!(
            destination = name,
            payloads,
            "stopped before all was delivered"
        );
    }
    handle.queue().close();
}

/// A number in 0..1, for jitter.
fn chance() -> f64 {
    // Every hasher of the standard library has keys of its own.
    let random = RandomState::new().hash_one(());
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// Says when trouble starts and when it ends, not at each attempt.
struct Trouble<'a> {
    name: &'a str,
    since: Option<Instant>,
}

impl Trouble<'_> {
    fn log(&mut self, delivery: &Delivery) {
        let destination = self.name;
        match delivery {
            Delivery::Accepted => {}
            Delivery::PartlyRejected { profiles, message } => {
                tracing::warn!(
                    destination,
                    profiles,
                    message,
                    "the receiver rejected profiles"
                );
            }
            Delivery::Retry { message, .. } => {
                if self.since.is_none() {
                    tracing::warn!(destination, message, "not delivered, will be tried again");
                    self.since = Some(Instant::now());
                } else {
                    tracing::debug!(destination, message, "still not delivered");
                }
                return;
            }
            Delivery::Refused { message } => {
                tracing::warn!(destination, message, "the receiver refused a payload");
                self.since = None;
                return;
            }
        }
        if let Some(since) = self.since.take() {
            let outage = since.elapsed();
            tracing::info!(destination, ?outage, "delivered again");
        }
    }
}
