//! With a disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Receiver, now, payload, retry};
use crate::profile::payload::DeliveryCounts;
use crate::profile::{Delivery, DeliveryCause, Payload, UnixTime};
use crate::spool::{Backoff, Config, Handle, SyncPolicy, start};

const FLUSH: Duration = Duration::from_secs(2);

fn quick() -> Config {
    Config {
        concurrency: 1,
        backoff: Backoff {
            initial: Duration::from_millis(10),
            ..Backoff::default()
        },
        ..Config::default()
    }
}

/// Looks at the counts until they are as wanted.
async fn until(handle: &Handle, is: impl Fn(&DeliveryCounts) -> bool) -> DeliveryCounts {
    let looking = async {
        loop {
            let counts = handle.counts();
            assert!(counts.is_balanced(), "{counts:?}");
            if is(&counts) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let counts = tokio::time::timeout(Duration::from_secs(30), looking).await;
    counts.unwrap_or_else(|_| panic!("{:?}", handle.counts()))
}

/// A run with this receiver that pushes payloads of 10,000 bytes with these numbers, and stops when the counts are as
/// wanted.
async fn run(
    directory: &Path,
    config: Config,
    receiver: &Receiver,
    numbers: std::ops::Range<u64>,
    is: impl Fn(&DeliveryCounts) -> bool,
) -> DeliveryCounts {
    let (handle, driver) = start("test", config, Some(directory), receiver.clone()).unwrap();
    handle.push(numbers.map(|number| payload(number, 10_000)));
    let wanted = handle.clone();
    let shutdown = async move { drop(until(&wanted, is).await) };
    driver.run(shutdown, FLUSH).await;
    let counts = handle.counts();
    assert!(counts.is_balanced(), "{counts:?}");
    counts
}

#[tokio::test]
async fn what_cannot_be_sent_is_there_after_a_restart_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let dead = Receiver::new(retry(Some(Duration::from_secs(60))));
    let on_disk = |counts: &DeliveryCounts| counts.appended == 5;
    let counts = run(directory.path(), quick(), &dead, 0..5, on_disk).await;
    assert_eq!(
        (counts.waiting, counts.disk.payloads, counts.delivered),
        (5, 5, 0)
    );
    assert!(counts.losses.is_empty(), "{counts:?}");

    let alive = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), quick(), &alive, 5..7, |counts| {
        counts.delivered == 7
    })
    .await;
    // What is pushed before the spool is open goes ahead.
    let order: Vec<u64> = alive
        .order()
        .into_iter()
        .filter(|number| *number < 5)
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert_eq!((counts.waiting, counts.disk.payloads), (0, 0));

    let idle = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), quick(), &idle, 7..7, |_| true).await;
    assert_eq!((counts.waiting, idle.attempts().len()), (0, 0));
}

/// What an earlier run left is dated by the wall clock, which somebody may have set meanwhile.
#[tokio::test]
async fn a_clock_that_was_set_between_two_runs_loses_nothing_that_is_not_counted() {
    const HOUR: u64 = 3_600_000_000_000;
    let directory = tempfile::tempdir().unwrap();
    let config = || Config {
        age: Duration::from_secs(24 * 3_600),
        ..quick()
    };
    let dead = Receiver::new(retry(Some(Duration::from_secs(60))));
    let (handle, driver) = start("test", config(), Some(directory.path()), dead).unwrap();
    let dated = |number: u64, end: u64| Payload {
        end: UnixTime(end),
        ..payload(number, 10_000)
    };
    let UnixTime(now) = now();
    // Set back by two days since, set forward by two days since, and not set.
    handle.push([
        dated(1, now + 48 * HOUR),
        dated(2, now - 48 * HOUR),
        dated(3, now),
    ]);
    let wanted = handle.clone();
    let written = async move { drop(until(&wanted, |counts| counts.appended == 3).await) };
    driver.run(written, FLUSH).await;
    assert!(handle.counts().losses.is_empty(), "{:?}", handle.counts());

    let alive = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), config(), &alive, 7..7, |counts| {
        counts.delivered == 2
    })
    .await;
    assert_eq!(alive.order(), [1, 3]);
    assert_eq!((counts.waiting, counts.disk.payloads), (0, 0));
    assert_eq!(counts.losses.of(DeliveryCause::SpoolExpired).payloads, 1);
}

#[tokio::test]
async fn what_is_delivered_at_once_is_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        concurrency: 100,
        ..quick()
    };
    let alive = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), config, &alive, 0..50, |counts| {
        counts.delivered == 50
    })
    .await;
    assert_eq!((counts.appended, counts.removed), (0, 0));
}

#[tokio::test]
async fn what_is_to_be_written_first_is() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        concurrency: 100,
        write_after: Duration::ZERO,
        ..quick()
    };
    let alive = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), config, &alive, 0..50, |counts| {
        counts.removed == 50
    })
    .await;
    assert_eq!((counts.appended, counts.delivered), (50, 50));
}

#[tokio::test]
async fn what_takes_long_is_written_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        write_after: Duration::from_millis(5),
        ..quick()
    };
    let slow = Receiver::new(Delivery::Accepted).taking(Duration::from_secs(3_600));
    let on_disk = |counts: &DeliveryCounts| counts.appended == 1;
    let counts = run(directory.path(), config, &slow, 0..1, on_disk).await;
    assert_eq!(
        (counts.waiting, counts.delivered, slow.attempts().len()),
        (1, 0, 1)
    );
    assert!(counts.losses.is_empty(), "{counts:?}");
}

#[tokio::test]
async fn shutdown_writes_what_is_undelivered() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        concurrency: 10,
        ..quick()
    };
    let slow = Receiver::new(Delivery::Accepted).taking(Duration::from_secs(3_600));
    let (handle, driver) = start("test", config, Some(directory.path()), slow).unwrap();
    handle.push((0..10).map(|number| payload(number, 10_000)));
    driver.run(async {}, Duration::ZERO).await;
    let counts = handle.counts();
    assert_eq!((counts.waiting, counts.appended), (10, 10));
    assert!(counts.losses.is_empty(), "{counts:?}");
}

#[tokio::test]
async fn an_interval_of_syncs_loses_nothing_at_an_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        sync: SyncPolicy::Interval(Duration::from_secs(3_600)),
        ..quick()
    };
    let dead = Receiver::new(retry(Some(Duration::from_secs(60))));
    run(directory.path(), config, &dead, 0..20, |counts| {
        counts.appended == 20
    })
    .await;
    let alive = Receiver::new(Delivery::Accepted);
    run(directory.path(), config, &alive, 0..0, |counts| {
        counts.removed == 20
    })
    .await;
    assert_eq!(alive.order(), (0..20).collect::<Vec<u64>>());
    let idle = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), config, &idle, 0..0, |_| true).await;
    assert_eq!(counts.waiting, 0);
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_set_aside_and_counted() {
    is_set_aside(|path| fs::write(path, b"not a database")).await;
    is_set_aside(|path| fs::create_dir(path)).await;
    is_set_aside(|path| {
        let made = std::process::Command::new("mkfifo").arg(path).status()?;
        assert!(made.success());
        Ok(())
    })
    .await;
}

async fn is_set_aside(make: impl FnOnce(&std::path::Path) -> std::io::Result<()>) {
    let directory = tempfile::tempdir().unwrap();
    make(&directory.path().join("test.redb")).unwrap();
    let alive = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), quick(), &alive, 0..3, |counts| {
        counts.removed == counts.appended
            && counts.delivered == 3
            && counts.losses.of(DeliveryCause::SpoolDamaged).payloads > 0
    })
    .await;
    assert_eq!(counts.losses.of(DeliveryCause::SpoolDamaged).payloads, 1);
    let mut names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(
        names[0] == "test.redb" && names[1].starts_with("test.redb.corrupt-"),
        "{names:?}"
    );
}

#[tokio::test]
async fn what_does_not_fit_in_memory_is_read_back_in_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        memory: 35_000,
        ..quick()
    };
    let dead = Receiver::new(retry(Some(Duration::from_secs(60))));
    let (handle, driver) = start("test", config, Some(directory.path()), dead).unwrap();
    let pushing = handle.clone();
    let shutdown = async move {
        for number in 0..20 {
            pushing.push([payload(number, 10_000)]);
            let counts = until(&pushing, |counts| counts.appended == number + 1).await;
            assert!(counts.memory.bytes <= 35_000, "{counts:?}");
        }
    };
    driver.run(shutdown, FLUSH).await;
    let alive = Receiver::new(Delivery::Accepted);
    let counts = run(directory.path(), config, &alive, 0..0, |counts| {
        counts.removed == 20
    })
    .await;
    assert_eq!(alive.order(), (0..20).collect::<Vec<u64>>());
    assert_eq!((counts.delivered, counts.samples), (20, 190));
    assert!(counts.losses.is_empty());
}

#[tokio::test]
async fn a_damaged_payload_costs_only_itself() {
    let directory = tempfile::tempdir().unwrap();
    let dead = Receiver::new(retry(Some(Duration::from_secs(60))));
    let on_disk = |counts: &DeliveryCounts| counts.appended == 5;
    run(directory.path(), quick(), &dead, 0..5, on_disk).await;
    let path = directory.path().join("test.redb");
    let mut file = fs::read(&path).unwrap();
    let wanted = payload(3, 10_000).bytes;
    let at = file.windows(wanted.len()).position(|found| found == wanted);
    file[at.unwrap() + 5_000] ^= 1;
    fs::write(&path, file).unwrap();

    let alive = Receiver::new(Delivery::Accepted);
    let done = |counts: &DeliveryCounts| counts.delivered == 4 && counts.removed == 5;
    let counts = run(directory.path(), quick(), &alive, 0..0, done).await;
    assert_eq!(alive.order(), [0, 1, 2, 4]);
    assert_eq!(counts.losses.of(DeliveryCause::SpoolDamaged).payloads, 1);
    assert_eq!(counts.waiting, 0);
}
