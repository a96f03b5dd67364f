//! The file and the memory stay within their bounds.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Duration;

use profiler_agent::profile::{DeliveryCause, Payload};
use profiler_agent::spool::store::{SpoolFile, cost};
use profiler_agent::spool::{Config, start};

use super::{Dead, Random, child, given, on_one_thread, payload, quick, until};

#[test]
fn the_file_never_grows_beyond_its_limit() {
    for (limit, most) in [
        (8 << 20, 400_000),
        (12 << 20, 40_000),
        (16 << 20, 3_000),
        (16 << 20, 1 << 20),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.redb");
        let (mut file, _) = SpoolFile::open(&path, limit, &mut None).unwrap();
        let mut random = Random(most);
        let mut holds: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut longest, mut number, mut written) = (0, 0, 0);
        while written < 4 * limit {
            let mut batch: Vec<Payload> = Vec::new();
            let mut costs = 0;
            while costs < file.room() / 16 {
                let payload = payload(number, random.below(most) as usize);
                costs += cost(payload.bytes.len() as u64);
                number += 1;
                batch.push(payload);
            }
            let mut removed = Vec::new();
            while holds.iter().map(|(_, cost)| cost).sum::<u64>() + costs > file.room() {
                // Mostly the oldest; now and then one in between, which leaves a hole.
                let at = if random.below(4) == 0 {
                    random.below(holds.len() as u64)
                } else {
                    0
                };
                removed.push(holds.remove(at as usize).unwrap().0);
            }
            file.change(&removed, &[], true).unwrap();
            let appends: Vec<(u64, &Payload)> = batch
                .iter()
                .map(|payload| (payload.start.0, payload))
                .collect();
            file.change(&[], &appends, true).unwrap();
            for payload in &batch {
                holds.push_back((payload.start.0, cost(payload.bytes.len() as u64)));
            }
            written += costs;
            longest = longest.max(path.metadata().unwrap().len());
            assert!(
                longest <= limit,
                "{longest} of {limit}, payloads up to {most}"
            );
        }
        println!("limit {limit}, longest {longest}, payloads up to {most}");
        assert!(longest > limit / 8, "{longest}");
        let all: Vec<u64> = holds.iter().map(|(number, _)| *number).collect();
        file.change(&all, &[], true).unwrap();
        let mut file = file.renewed().unwrap();
        assert!(
            path.metadata().unwrap().len() < 8 << 20,
            "an empty file is short again"
        );
        file.change(&[], &[(1, &payload(1, 1_000))], true).unwrap();
        assert_eq!(file.load(1).unwrap().unwrap().samples, 1_000);
    }
}

#[test]
fn the_oldest_are_dropped_when_the_spool_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        disk: Config::MIN_DISK,
        memory: 1 << 20,
        ..quick()
    };
    let (handle, driver) = start("x", config, Some(directory.path()), Dead).unwrap();
    let shutdown = async {
        for number in 0..200 {
            handle.push([payload(number, 100_000)]);
            until(&handle, |counts| counts.appended == number + 1).await;
        }
    };
    on_one_thread(driver.run(shutdown, Duration::ZERO));
    let counts = handle.counts();
    let dropped = counts.losses.of(DeliveryCause::SpoolFull).payloads;
    assert_eq!(counts.waiting + dropped, 200, "{counts:?}");
    assert!(counts.waiting >= 25 && dropped > 100, "{counts:?}");
    let path = directory.path().join("x.redb");
    assert!(path.metadata().unwrap().len() <= Config::MIN_DISK);
    let (_, found) = SpoolFile::open(&path, Config::MIN_DISK, &mut None).unwrap();
    assert_eq!(found.records.len() as u64, counts.waiting);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
#[ignore = "the program whose memory is looked at"]
fn takes_an_hour_of_windows() {
    let (directory, _) = given();
    profiler_agent::telemetry::memory::keep_small();
    let (handle, driver) = start("x", quick(), Some(&directory), Dead).unwrap();
    let before = resident_kib();
    let shutdown = async {
        for window in 0..360 {
            handle.push((0..3).map(|part| payload(3 * window + part, 100 << 10)));
            until(&handle, |counts| counts.appended == 3 * (window + 1)).await;
            assert!(handle.counts().memory.bytes <= 16 << 20);
        }
        println!("truth {} of {} KiB", resident_kib() - before, before);
    };
    on_one_thread(driver.run(shutdown, Duration::ZERO));
    let counts = handle.counts();
    assert_eq!((counts.waiting, counts.disk.payloads), (1080, 1080));
    assert!(counts.losses.is_empty());
}

#[test]
fn memory_is_flat_over_an_hour_without_a_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = child("bounds::takes_an_hour_of_windows", directory.path(), 0);
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    let (_, grown) = text.split_once("truth ").unwrap();
    let grown: u64 = grown.split(' ').next().unwrap().parse().unwrap();
    println!("grown by {grown} KiB");
    // Payloads, the file's cache, what is on its way to disk.
    assert!(grown < 32 << 10, "{grown} KiB");
}
