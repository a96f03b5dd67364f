//! Without a disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Receiver, payload, retry};
use crate::profile::payload::{BreakerState, DeliveryCounts};
use crate::profile::{Delivery, DeliveryCause, Destination, Payload};
use crate::spool::{Config, start};

const FLUSH: Duration = Duration::from_secs(5);

/// Pushes three payloads, stops after `seconds`; the counts, and how long all took.
async fn delivered(
    receiver: &Receiver,
    config: Config,
    seconds: u64,
) -> (DeliveryCounts, Duration) {
    let start_time = tokio::time::Instant::now();
    let (handle, driver) = start("test", config, None, receiver.clone()).unwrap();
    handle.push((1..=3).map(|number| payload(number, 10)));
    let (stop, stopped) = oneshot::channel::<()>();
    let driver = tokio::spawn(driver.run(async move { drop(stopped.await) }, FLUSH));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.send(()).unwrap();
    driver.await.unwrap();
    let counts = handle.counts();
    assert!(counts.is_balanced(), "{counts:?}");
    (counts, start_time.elapsed())
}

fn one_at_a_time() -> Config {
    Config {
        concurrency: 1,
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn payloads_arrive_in_order() {
    let receiver = Receiver::new(Delivery::Accepted);
    let (counts, _) = delivered(&receiver, one_at_a_time(), 1).await;
    assert_eq!(
        (counts.delivered, counts.waiting, counts.samples),
        (3, 0, 6)
    );
    assert_eq!(receiver.order(), [1, 2, 3]);
    assert_eq!((counts.attempts.accepted, counts.latencies.count()), (3, 3));
    assert_eq!(
        (counts.memory.payloads, counts.memory.bytes, counts.oldest),
        (0, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_than_allowed() {
    let receiver = Receiver::new(Delivery::Accepted).taking(Duration::from_secs(1));
    let (counts, _) = delivered(&receiver, Config::default(), 10).await;
    assert_eq!(counts.delivered, 3);
    let times: Vec<u64> = receiver
        .attempts()
        .iter()
        .map(|(_, time)| time.as_secs())
        .collect();
    assert_eq!(times, [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_repeated_after_the_receivers_delay() {
    let floor = Duration::from_secs(60);
    let receiver = Receiver::new(Delivery::Accepted).first(retry(Some(floor)));
    let (counts, _) = delivered(&receiver, one_at_a_time(), 100).await;
    assert_eq!((counts.delivered, counts.attempts.retry), (3, 1));
    let (number, time) = receiver.attempts()[1];
    assert_eq!(number, 1);
    assert!(
        time >= floor && time < floor + Duration::from_secs(1),
        "{time:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_is_given_a_rest() {
    let receiver = Receiver::new(retry(None));
    let (counts, _) = delivered(&receiver, Config::default(), 3_600).await;
    assert_eq!(counts.breaker, BreakerState::Open);
    // Two at a time until it is open, then one every 15 to 45 s.
    let attempts = receiver.attempts().len();
    assert!((80..250).contains(&attempts), "{attempts}");
    assert_eq!(
        counts
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads,
        3
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_our_own_backoff() {
    let receiver = Receiver::new(Delivery::Accepted).first(retry(None));
    let (counts, took) = delivered(&receiver, one_at_a_time(), 1).await;
    assert_eq!((counts.delivered, receiver.attempts().len()), (3, 4));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_in_time_is_counted() {
    let receiver = Receiver::new(Delivery::Accepted).taking(Duration::from_secs(3));
    // The first ends at 3 s, the second would end at 6 s: stopped at 0 s, there are 5 s.
    let (counts, took) = delivered(&receiver, one_at_a_time(), 0).await;
    assert_eq!(counts.delivered, 1);
    assert_eq!(
        counts
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads,
        2
    );
    assert_eq!(took, FLUSH);
    assert_eq!(*receiver.under_way.borrow(), 1, "the attempt was stopped");
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_retry_that_is_too_late() {
    let receiver = Receiver::new(retry(Some(Duration::from_secs(60))));
    let (counts, took) = delivered(&receiver, Config::default(), 1).await;
    assert_eq!(
        counts
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads,
        3
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_receiver_does_not_take_is_counted() {
    let refused = Delivery::Refused {
        message: "no".into(),
    };
    let partly = Delivery::PartlyRejected {
        profiles: 4,
        message: "too old".into(),
    };
    let receiver = Receiver::new(Delivery::Accepted)
        .first(refused)
        .first(partly);
    let (counts, _) = delivered(&receiver, one_at_a_time(), 1).await;
    assert_eq!((counts.delivered, counts.samples), (2, 5));
    assert_eq!(counts.losses.of(DeliveryCause::ReceiverRefused).payloads, 1);
    assert_eq!(
        counts.losses.of(DeliveryCause::ReceiverRejected).payloads,
        4
    );
    let attempts = counts.attempts;
    assert_eq!(
        (
            attempts.accepted,
            attempts.partly_rejected,
            attempts.refused
        ),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_panics_is_a_failed_attempt() {
    struct Panics;
    impl Destination for Panics {
        async fn send(&self, _: Arc<Payload>) -> Delivery {
            panic!("on purpose");
        }
    }
    let (handle, driver) = start("test", Config::default(), None, Panics).unwrap();
    handle.push([payload(1, 10)]);
    driver.run(async {}, FLUSH).await;
    let counts = handle.counts();
    assert!(counts.attempts.retry >= 1, "{counts:?}");
    assert_eq!(
        counts
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_after_the_end_is_counted() {
    let receiver = Receiver::new(Delivery::Accepted);
    let (handle, driver) = start("test", Config::default(), None, receiver).unwrap();
    driver.run(async {}, FLUSH).await;
    handle.push([payload(1, 10)]);
    assert_eq!(
        handle
            .counts()
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads,
        1
    );
    assert_eq!(handle.counts().memory.bytes, 0);
}
