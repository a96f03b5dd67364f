//! The queue against a model, and its driver in paused time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{Backoff, Limits, Next, Queue, QueueHandle, run};
use crate::profile::{
    Coding, Delivery, Destination, LossCause, Payload, PayloadId, UnixTime, WindowUuid,
};

fn payload(number: u64, length: usize) -> Payload {
    Payload {
        id: PayloadId {
            window: WindowUuid::new(UnixTime(number), 1),
            part: 0,
        },
        start: UnixTime(number),
        end: UnixTime(number + 1),
        samples: 1,
        coding: Coding::Identity,
        raw_length: length as u64,
        bytes: vec![0; length],
    }
}

fn retry(after: Option<Duration>) -> Delivery {
    Delivery::Retry {
        after,
        message: "not now".into(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Poll,
    Advance(u64),
    Finish(Delivery, f64),
    Hurry,
}

fn step() -> impl Strategy<Value = Step> {
    let delivery = prop_oneof![
        Just(Delivery::Accepted),
        Just(Delivery::PartlyRejected {
            profiles: 2,
            message: String::new()
        }),
        Just(Delivery::Refused {
            message: String::new()
        }),
        prop::option::of(0u64..100).prop_map(|seconds| retry(seconds.map(Duration::from_secs))),
    ];
    prop_oneof![
        3 => (0usize..60).prop_map(Step::Push),
        3 => Just(Step::Poll),
        2 => (0u64..60).prop_map(Step::Advance),
        3 => (delivery, 0.0..1.0).prop_map(|(delivery, chance)| Step::Finish(delivery, chance)),
        1 => Just(Step::Hurry),
    ]
}

/// What the queue should hold: the numbers and lengths of its payloads.
#[derive(Default)]
struct Model {
    waiting: VecDeque<(u64, usize)>,
    sending: bool,
    failures: i32,
    earliest: Option<Instant>,
    latest: Option<Instant>,
    floor: Option<Instant>,
    delivered: u64,
    refused: u64,
    rejected: u64,
    dropped: u64,
}

impl Model {
    fn push(&mut self, entry: (u64, usize), limits: Limits) {
        self.waiting.push_back(entry);
        let first = usize::from(self.sending);
        let over = |waiting: &VecDeque<(u64, usize)>| {
            let bytes: usize = waiting.iter().map(|(_, length)| length).sum();
            bytes > limits.bytes || waiting.len() > limits.payloads
        };
        while over(&self.waiting) && self.waiting.len() > first {
            self.waiting.remove(first);
            self.dropped += 1;
        }
    }
    fn finish(&mut self, delivery: &Delivery, now: Instant) {
        self.sending = false;
        if let Delivery::Retry { after, .. } = delivery {
            let interval = (5.0 * 1.5f64.powi(self.failures)).min(30.0);
            self.failures += 1;
            let floor = after.unwrap_or_default();
            let at = |seconds: f64| now + Duration::from_secs_f64(seconds).max(floor);
            self.earliest = Some(at(interval * 0.499));
            self.latest = Some(at(interval * 1.501));
            self.floor = after.map(|after| now + after);
            return;
        }
        self.waiting.pop_front();
        (self.failures, self.earliest, self.latest, self.floor) = (0, None, None, None);
        match delivery {
            Delivery::Refused { .. } => self.refused += 1,
            Delivery::PartlyRejected { profiles, .. } => {
                self.rejected += profiles;
                self.delivered += 1;
            }
            _ => self.delivered += 1,
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_uncounted(
        steps in prop::collection::vec(step(), 1..150), bytes in 1usize..200, payloads in 1usize..8,
    ) {
        let limits = Limits { bytes, payloads };
        let mut queue = Queue::new(limits, Backoff::default());
        let mut model = Model::default();
        let mut now = Instant::now();
        let mut pushed = 0;
        for step in steps {
            match step {
                Step::Push(length) => {
                    queue.push(payload(pushed, length));
                    model.push((pushed, length), limits);
                    pushed += 1;
                }
                Step::Advance(seconds) => now += Duration::from_secs(seconds),
                Step::Hurry => {
                    queue.hurry();
                    model.earliest = model.floor;
                    model.latest = model.floor;
                }
                Step::Finish(delivery, chance) => {
                    queue.finished(&delivery, now, chance);
                    if model.sending {
                        model.finish(&delivery, now);
                    }
                }
                Step::Poll => match queue.next(now) {
                    Next::Idle => prop_assert!(model.sending || model.waiting.is_empty()),
                    Next::Wait(at) => {
                        prop_assert!(at > now && !model.sending && !model.waiting.is_empty());
                        prop_assert!(at >= model.earliest.unwrap() && at <= model.latest.unwrap());
                    }
                    Next::Send(payload) => {
                        prop_assert!(!model.sending);
                        prop_assert_eq!(payload.start.0, model.waiting[0].0, "oldest first");
                        prop_assert!(model.earliest.is_none_or(|earliest| now >= earliest));
                        model.sending = true;
                    }
                },
            }
            let counts = queue.counts();
            let first = usize::from(model.sending);
            prop_assert!(counts.waiting as usize <= payloads.max(first));
            prop_assert_eq!(counts.waiting, model.waiting.len() as u64);
            prop_assert_eq!(counts.delivered, model.delivered);
            prop_assert_eq!(counts.samples, model.delivered);
            prop_assert_eq!(counts.losses.of(LossCause::QueueFull), model.dropped);
            prop_assert_eq!(counts.losses.of(LossCause::ReceiverRefused), model.refused);
            prop_assert_eq!(counts.losses.of(LossCause::ReceiverRejected), model.rejected);
            let accounted = counts.waiting + counts.delivered + model.dropped + model.refused;
            prop_assert_eq!(accounted, pushed);
        }
        queue.close();
        queue.push(payload(pushed, 1));
        let counts = queue.counts();
        let undelivered = counts.losses.of(LossCause::ShutdownUndelivered);
        prop_assert_eq!(undelivered, model.waiting.len() as u64 + 1);
        prop_assert_eq!(counts.waiting, 0);
    }
}

/// Answers as told, then accepts; remembers when each attempt was made, and of what.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Delivery>>>,
    attempts: Arc<Mutex<Vec<(u64, Duration)>>>,
    start: Option<tokio::time::Instant>,
    takes: Duration,
}

impl Destination for Script {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let time = self.start.unwrap().elapsed();
        self.attempts.lock().unwrap().push((payload.start.0, time));
        tokio::time::sleep(self.takes).await;
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or(Delivery::Accepted)
    }
}

/// Pushes three payloads, stops after `seconds`, with 5 s to flush; the counts and the attempts.
async fn delivered(
    script: Script,
    seconds: u64,
) -> (
    super::super::super::profile::payload::DeliveryCounts,
    Vec<(u64, Duration)>,
    Duration,
) {
    let start = tokio::time::Instant::now();
    let script = Script {
        start: Some(start),
        ..script
    };
    let handle = QueueHandle::new(Queue::new(Limits::default(), Backoff::default()));
    for number in 0..3 {
        handle.push(payload(number, 10));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { drop(stopped.await) };
    let driver = tokio::spawn({
        let (handle, script) = (handle.clone(), script.clone());
        async move { run("test", &handle, &script, shutdown, Duration::from_secs(5)).await }
    });
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.send(()).unwrap();
    driver.await.unwrap();
    let attempts = script.attempts.lock().unwrap().clone();
    (handle.counts(), attempts, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn payloads_arrive_in_order() {
    let (counts, attempts, _) = delivered(Script::default(), 1).await;
    assert_eq!((counts.delivered, counts.waiting), (3, 0));
    let order: Vec<_> = attempts.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_repeated_after_the_receivers_delay() {
    let script = Script::default();
    let floor = Duration::from_secs(60);
    script.answers.lock().unwrap().push_back(retry(Some(floor)));
    let (counts, attempts, _) = delivered(script, 100).await;
    assert_eq!((counts.delivered, counts.retries), (3, 1));
    assert_eq!(attempts[1].0, 0);
    assert!(attempts[1].1 >= floor && attempts[1].1 < floor + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_our_own_backoff() {
    let script = Script::default();
    script.answers.lock().unwrap().push_back(retry(None));
    let (counts, attempts, took) = delivered(script, 1).await;
    assert_eq!((counts.delivered, attempts.len()), (3, 4));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_in_time_is_counted() {
    let script = Script {
        takes: Duration::from_secs(3),
        ..Script::default()
    };
    // The first ends at 3 s, the second would end at 6 s: stopped at 0 s, there are 5 s.
    let (counts, _, took) = delivered(script, 0).await;
    assert_eq!(counts.delivered, 1);
    assert_eq!(counts.losses.of(LossCause::ShutdownUndelivered), 2);
    assert_eq!(took, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_retry_that_is_too_late() {
    let script = Script::default();
    let floor = Duration::from_secs(60);
    script.answers.lock().unwrap().push_back(retry(Some(floor)));
    let (counts, _, took) = delivered(script, 1).await;
    assert_eq!(counts.losses.of(LossCause::ShutdownUndelivered), 3);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
