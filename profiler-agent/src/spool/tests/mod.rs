//! The queue and its driver: in paused time without a disk, in real time with one.

mod memory;
mod spooled;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::profile::{Coding, Delivery, Destination, Payload, PayloadId, UnixTime, WindowUuid};

/// A payload of this length; its number is its window's start and its number of samples.
fn payload(number: u64, length: usize) -> Payload {
    Payload {
        id: PayloadId {
            window: WindowUuid::new(UnixTime(number), 1),
            part: 0,
        },
        start: UnixTime(number),
        end: now(),
        samples: number,
        coding: Coding::Gzip,
        raw_length: 2 * length as u64,
        bytes: (0..length).map(|at| (at as u64 ^ number) as u8).collect(),
    }
}

fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixTime(since.unwrap().as_nanos() as u64)
}

fn retry(after: Option<Duration>) -> Delivery {
    Delivery::Retry {
        after,
        message: "not now".into(),
    }
}

/// Answers as told, then as it always does; remembers when each attempt was made, and of what.
#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<Delivery>>>,
    always: Arc<Mutex<Delivery>>,
    attempts: Arc<Mutex<Vec<(u64, Duration)>>>,
    takes: Duration,
    start: tokio::time::Instant,
    /// Number of attempts so far.
    made: watch::Sender<usize>,
    under_way: watch::Sender<usize>,
}

impl Receiver {
    fn new(always: Delivery) -> Self {
        Self {
            answers: Arc::default(),
            always: Arc::new(Mutex::new(always)),
            attempts: Arc::default(),
            takes: Duration::ZERO,
            start: tokio::time::Instant::now(),
            made: watch::Sender::new(0),
            under_way: watch::Sender::new(0),
        }
    }
    fn first(self, answer: Delivery) -> Self {
        self.answers.lock().unwrap().push_back(answer);
        self
    }
    fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }
    fn attempts(&self) -> Vec<(u64, Duration)> {
        self.attempts.lock().unwrap().clone()
    }
    fn order(&self) -> Vec<u64> {
        self.attempts().iter().map(|(number, _)| *number).collect()
    }
}

impl Destination for Receiver {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        assert_eq!(
            *payload,
            Payload {
                end: payload.end,
                ..self::payload(payload.start.0, payload.bytes.len())
            }
        );
        let time = self.start.elapsed();
        self.attempts.lock().unwrap().push((payload.start.0, time));
        self.under_way.send_modify(|count| *count += 1);
        self.made.send_modify(|count| *count += 1);
        tokio::time::sleep(self.takes).await;
        self.under_way.send_modify(|count| *count -= 1);
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| self.always.lock().unwrap().clone())
    }
}
