//! The queue's state machine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::profile::payload::DeliveryCounts;
use crate::profile::{Delivery, LossCause, Payload};

/// Most that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all payloads together.
    pub bytes: usize,
    /// Payloads.
    pub payloads: usize,
}

impl Default for Limits {
    /// 32 MiB or 1,000 payloads: about half an hour of one busy machine.
    fn default() -> Self {
        Self {
            bytes: 32 << 20,
            payloads: 1_000,
        }
    }
}

/// When a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// First interval.
    pub initial: Duration,
    /// What each interval is longer than the one before by.
    pub multiplier: f64,
    /// Longest interval.
    pub max: Duration,
    /// How far a delay may be from its interval: 0.5 means half to one and a half of it.
    pub jitter: f64,
}

impl Default for Backoff {
    /// Those of the OpenTelemetry collector: 5 s, x1.5, 30 s, 50 %.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(5),
            multiplier: 1.5,
            max: Duration::from_secs(30),
            jitter: 0.5,
        }
    }
}

impl Backoff {
    /// The delay for an interval; `chance` is in 0..1.
    fn delay(&self, interval: Duration, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        interval.mul_f64((1.0 + self.jitter * (2.0 * chance - 1.0)).max(0.0))
    }
    /// The interval after `interval`.
    fn next(&self, interval: Duration) -> Duration {
        interval.mul_f64(self.multiplier.max(1.0)).min(self.max)
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this, then call [`Queue::finished`].
    Send(Arc<Payload>),
    /// Nothing before then, or before something is pushed.
    Wait(Instant),
    /// Nothing before something is pushed (or the attempt that is under way ends).
    Idle,
}

/// Longest delay that a receiver may ask for.
const LONGEST_FLOOR: Duration = Duration::from_secs(3_600);

/// Payloads waiting for one destination, oldest first; at most one attempt at a time.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    backoff: Backoff,
    /// While `sending`, the first one is the one that is being sent: it cannot be dropped.
    waiting: VecDeque<Arc<Payload>>,
    bytes: usize,
    sending: bool,
    interval: Duration,
    retry_at: Option<Instant>,
    /// Not before this, even in a hurry: the receiver said so.
    floor: Option<Instant>,
    closed: bool,
    counts: DeliveryCounts,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: Limits, backoff: Backoff) -> Self {
        Self {
            limits,
            backoff,
            waiting: VecDeque::new(),
            bytes: 0,
            sending: false,
            interval: backoff.initial,
            retry_at: None,
            floor: None,
            closed: false,
            counts: DeliveryCounts::default(),
        }
    }

    /// Adds a payload; while there is more than the limits allow, drops the oldest that is not
    /// being sent (`LossCause::QueueFull`), which may be the new one.
    pub fn push(&mut self, payload: Payload) {
        if self.closed {
            self.counts.losses.add(LossCause::ShutdownUndelivered, 1);
            return;
        }
        self.bytes += payload.bytes.len();
        self.waiting.push_back(Arc::new(payload));
        let oldest = usize::from(self.sending);
        while self.bytes > self.limits.bytes || self.waiting.len() > self.limits.payloads {
            let Some(dropped) = self.waiting.remove(oldest) else {
                break;
            };
            self.bytes -= dropped.bytes.len();
            self.counts.losses.add(LossCause::QueueFull, 1);
        }
    }

    /// What is to be done at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.sending {
            return Next::Idle;
        }
        let Some(first) = self.waiting.front() else {
            return Next::Idle;
        };
        match self.retry_at {
            Some(at) if at > now => Next::Wait(at),
            _ => {
                self.sending = true;
                Next::Send(Arc::clone(first))
            }
        }
    }

    /// The attempt that [`Self::next`] asked for ended at `now`; `chance` is in 0..1.
    pub fn finished(&mut self, delivery: &Delivery, now: Instant, chance: f64) {
        if !std::mem::take(&mut self.sending) {
            return;
        }
        if let Delivery::Retry { after, .. } = delivery {
            self.counts.retries += 1;
            let delay = self.backoff.delay(self.interval, chance);
            self.interval = self.backoff.next(self.interval);
            let floor = after.map(|after| after.min(LONGEST_FLOOR));
            self.floor = floor.map(|floor| now + floor);
            self.retry_at = Some(now + delay.max(floor.unwrap_or_default()));
            return;
        }
        self.interval = self.backoff.initial;
        self.retry_at = None;
        self.floor = None;
        let Some(payload) = self.waiting.pop_front() else {
            return;
        };
        self.bytes -= payload.bytes.len();
        let losses = &mut self.counts.losses;
        match delivery {
            Delivery::Refused { .. } => return losses.add(LossCause::ReceiverRefused, 1),
            Delivery::PartlyRejected { profiles, .. } => {
                losses.add(LossCause::ReceiverRejected, *profiles);
            }
            Delivery::Accepted | Delivery::Retry { .. } => {}
        }
        self.counts.delivered += 1;
        self.counts.samples += payload.samples;
    }

    /// Time is short: what waits for no reason but our own backoff may go now.
    pub fn hurry(&mut self) {
        self.retry_at = self.floor;
    }

    /// Gives up: what is there and what comes later counts as `LossCause::ShutdownUndelivered`.
    pub fn close(&mut self) {
        self.closed = true;
        self.sending = false;
        self.bytes = 0;
        let undelivered = self.waiting.drain(..).count() as u64;
        self.counts
            .losses
            .add(LossCause::ShutdownUndelivered, undelivered);
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> DeliveryCounts {
        DeliveryCounts {
            waiting: self.waiting.len() as u64,
            ..self.counts.clone()
        }
    }
}
