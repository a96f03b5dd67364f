//! What hangs holds back nothing but itself.

use std::sync::Arc;
use std::time::Duration;

use profiler_agent::profile::{Delivery, Destination, Payload};
use profiler_agent::spool::start;

use super::{Alive, on_one_thread, payload, quick, until};

/// Never answers.
struct Hangs;

impl Destination for Hangs {
    async fn send(&self, _: Arc<Payload>) -> Delivery {
        std::future::pending().await
    }
}

#[test]
fn a_destination_that_hangs_holds_back_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let (stuck, hanging) = start("stuck", quick(), Some(directory.path()), Hangs).unwrap();
    let (fine, working) = start("fine", quick(), Some(directory.path()), Alive::default()).unwrap();
    on_one_thread(async {
        let done = async {
            // Pushed by a thread of its own, as the agent does.
            let pushing = (stuck.clone(), fine.clone());
            let pusher = std::thread::spawn(move || {
                for number in 0..100 {
                    pushing.0.push([payload(number, 10_000)]);
                    pushing.1.push([payload(number, 10_000)]);
                }
            });
            until(&fine, |counts| counts.delivered == 100).await;
            until(&stuck, |counts| counts.appended >= 98).await;
            pusher.join().unwrap();
        };
        let (stop, stopped) = tokio::sync::watch::channel(());
        let until_stopped = |mut stopped: tokio::sync::watch::Receiver<()>| async move {
            let _ = stopped.changed().await;
        };
        tokio::join!(
            hanging.run(until_stopped(stopped.clone()), Duration::ZERO),
            working.run(until_stopped(stopped), Duration::ZERO),
            async {
                done.await;
                drop(stop);
            }
        );
    });
    let counts = stuck.counts();
    assert_eq!(
        (counts.waiting, counts.appended, counts.delivered),
        (100, 100, 0)
    );
    assert!(counts.losses.is_empty() && fine.counts().losses.is_empty());
}

#[test]
fn two_agents_do_not_share_a_spool() {
    let directory = tempfile::tempdir().unwrap();
    on_one_thread(async {
        let (first, one) = start("x", quick(), Some(directory.path()), Hangs).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let one = tokio::spawn(one.run(async move { drop(stopped.await) }, Duration::ZERO));
        first.push((0..3).map(|number| payload(number, 10)));
        until(&first, |counts| counts.appended >= 1).await;
        let (second, two) = start("x", quick(), Some(directory.path()), Hangs).unwrap();
        let other = second.clone();
        let shutdown = async move {
            other.push((3..6).map(|number| payload(number, 10)));
            until(&other, |counts| counts.memory.payloads == 3).await;
            assert_eq!(other.counts().appended, 0);
            // When the first one ends, the second one takes over what it left.
            stop.send(()).unwrap();
            until(&other, |counts| counts.waiting == 6 && counts.appended >= 1).await;
        };
        two.run(shutdown, Duration::ZERO).await;
        one.await.unwrap();
        assert_eq!((first.counts().waiting, second.counts().waiting), (3, 6));
    });
}
