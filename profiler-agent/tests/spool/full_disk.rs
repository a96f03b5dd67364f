//! A disk that is full for a while.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use profiler_agent::profile::DeliveryCause;
use profiler_agent::spool::{Config, start};

use super::{Alive, Dead, on_one_thread, payload, quick, until};

/// A small filesystem in memory; gone with the value.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", options, "spool-test"], place.path());
        Self(place)
    }
    fn grow(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], self.0.path());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn mount(arguments: &[&str], place: &Path) {
    let mounted = Command::new("mount").args(arguments).arg(place).status();
    assert!(mounted.unwrap().success(), "needs root");
}

#[test]
fn a_full_disk_costs_nothing_but_durability() {
    let disk = Small::new("size=3m");
    let config = Config {
        memory: 64 << 20,
        ..quick()
    };
    let (handle, driver) = start("x", config, Some(disk.0.path()), Dead).unwrap();
    let shutdown = async {
        for number in 0..100 {
            handle.push([payload(number, 100_000)]);
        }
        let failing = |counts: &profiler_agent::profile::payload::DeliveryCounts| {
            counts.losses.of(DeliveryCause::SpoolFailed).payloads > 0
        };
        let counts = until(&handle, failing).await;
        assert_eq!(counts.memory.payloads, 100, "{counts:?}");
        assert!(counts.appended < 100);
        disk.grow("size=64m");
        let counts = until(&handle, |counts| counts.appended == 100).await;
        assert_eq!((counts.waiting, counts.disk.payloads), (100, 100));
    };
    on_one_thread(driver.run(shutdown, Duration::ZERO));
    let losses = handle.counts().losses;
    assert!(
        losses
            .iter()
            .all(|(cause, _)| cause == DeliveryCause::SpoolFailed),
        "{losses:?}"
    );

    let alive = Alive::default();
    let (handle, driver) = start("x", quick(), Some(disk.0.path()), alive.clone()).unwrap();
    let shutdown = async { drop(until(&handle, |counts| counts.removed == 100).await) };
    on_one_thread(driver.run(shutdown, Duration::ZERO));
    let mut delivered = alive.0.lock().unwrap().clone();
    delivered.sort_unstable();
    assert_eq!(delivered, (0..100).collect::<Vec<u64>>());
}

#[test]
fn memory_stays_bounded_while_the_disk_is_full() {
    let disk = Small::new("size=1m");
    let config = Config {
        memory: 1 << 20,
        ..quick()
    };
    let (handle, driver) = start("x", config, Some(disk.0.path()), Dead).unwrap();
    let shutdown = async {
        for number in 0..200 {
            handle.push([payload(number, 100_000)]);
            assert!(handle.counts().memory.bytes <= 1 << 20);
            tokio::task::yield_now().await;
        }
        let full = |counts: &profiler_agent::profile::payload::DeliveryCounts| {
            counts.losses.of(DeliveryCause::SpoolFailed).payloads > 0
        };
        until(&handle, full).await;
    };
    on_one_thread(driver.run(shutdown, Duration::ZERO));
    let counts = handle.counts();
    let lost = counts.losses.of(DeliveryCause::QueueFull).payloads
        + counts
            .losses
            .of(DeliveryCause::ShutdownUndelivered)
            .payloads;
    assert_eq!(lost + counts.waiting, 200, "{counts:?}");
}

#[test]
fn a_spool_that_cannot_be_made_is_made_later() {
    let disk = Small::new("size=64m,nr_inodes=1");
    let (handle, driver) = start("x", quick(), Some(disk.0.path()), Dead).unwrap();
    let shutdown = async {
        handle.push((0..5).map(|number| payload(number, 1_000)));
        until(&handle, |counts| counts.attempts.retry > 2).await;
        assert_eq!(handle.counts().appended, 0);
        assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0);
        disk.grow("nr_inodes=100");
        until(&handle, |counts| counts.appended == 5).await;
    };
    on_one_thread(driver.run(shutdown, Duration::ZERO));
    assert_eq!(handle.counts().waiting, 5);
}
