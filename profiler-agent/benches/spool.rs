//! The spool: payloads appended and drained a second, beside a plain write and fsync of the same bytes; memory over an
//! hour of windows without a receiver.
//!
//! `cargo bench -p profiler-agent --bench spool [-- DIRECTORY]`

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use profiler_agent::profile::payload::DeliveryCounts;
use profiler_agent::profile::{
    Coding, Delivery, Destination, Payload, PayloadId, UnixTime, WindowUuid,
};
use profiler_agent::spool::{Config, Handle, SyncPolicy, start};

/// Bytes of a payload: a window of a busy machine, compressed.
const LENGTH: usize = 100 << 10;
/// Payloads that are appended and drained.
const PAYLOADS: u64 = 1_000;
/// Payloads that are pushed at a time: what a few windows make.
const TOGETHER: u64 = 10;
/// Windows of ten seconds in an hour, and payloads of each.
const HOUR: u64 = 360;
const PARTS: u64 = 3;

/// Takes everything, or nothing.
struct Receiver {
    takes: bool,
}

impl Destination for Receiver {
    async fn send(&self, _: Arc<Payload>) -> Delivery {
        if self.takes {
            return Delivery::Accepted;
        }
        Delivery::Retry {
            after: Some(Duration::from_secs(3_600)),
            message: "measured without a receiver".to_owned(),
        }
    }
}

fn payload(number: u64) -> Payload {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut seed = number;
    let bytes = (0..LENGTH).map(|_| {
        seed = seed
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (seed >> 56) as u8
    });
    Payload {
        id: PayloadId {
            window: WindowUuid::new(UnixTime(number), 1),
            part: 0,
        },
        start: UnixTime(number),
        end: UnixTime(now.map_or(0, |since| since.as_nanos() as u64)),
        samples: 1,
        coding: Coding::Identity,
        raw_length: LENGTH as u64,
        bytes: bytes.collect(),
    }
}

/// Runs a queue in this directory until `work` is done.
fn run<T>(
    directory: &Path,
    config: Config,
    takes: bool,
    work: impl AsyncFnOnce(&Handle) -> T,
) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (handle, driver) = start("bench", config, Some(directory), Receiver { takes })?;
    let mut done = None;
    runtime.block_on(driver.run(async { done = Some(work(&handle).await) }, Duration::ZERO));
    done.ok_or_else(|| io::Error::other("the queue ended early"))
}

async fn until(handle: &Handle, is: impl Fn(&DeliveryCounts) -> bool) {
    while !is(&handle.counts()) {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Appends and drains; how long each took.
fn append_and_drain(directory: &Path, config: Config, together: u64) -> io::Result<[Duration; 2]> {
    let appending = run(directory, config, false, async |handle| {
        let mut took = Duration::ZERO;
        for first in (0..PAYLOADS).step_by(together as usize) {
            let payloads: Vec<Payload> = (first..first + together).map(payload).collect();
            let start = Instant::now();
            handle.push(payloads);
            until(handle, |counts| counts.appended == first + together).await;
            took += start.elapsed();
        }
        took
    })?;
    let draining = run(directory, config, true, async |handle| {
        until(handle, |counts| counts.disk.payloads > 0).await;
        let start = Instant::now();
        until(handle, |counts| counts.removed == PAYLOADS).await;
        start.elapsed()
    })?;
    Ok([appending, draining])
}

/// Writes the same bytes to a file, with an fsync for so many payloads at a time.
fn plain(directory: &Path, together: u64) -> io::Result<Duration> {
    let mut file = File::create(directory.join("plain"))?;
    let mut took = Duration::ZERO;
    for first in (0..PAYLOADS).step_by(together as usize) {
        let payloads: Vec<Payload> = (first..first + together).map(payload).collect();
        let start = Instant::now();
        for payload in &payloads {
            file.write_all(&payload.bytes)?;
        }
        file.sync_data()?;
        took += start.elapsed();
    }
    std::fs::remove_file(directory.join("plain"))?;
    Ok(took)
}

/// Resident memory of this process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|text| text.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// An hour of windows, as fast as the disk takes them: by how much memory grew at most.
fn hour_without_receiver(directory: &Path) -> io::Result<()> {
    let before = resident_kib();
    let (most, held, took) = run(directory, Config::default(), false, async |handle| {
        let (mut most, mut held) = (0, 0);
        let start = Instant::now();
        for window in 0..HOUR {
            handle.push((PARTS * window..PARTS * (window + 1)).map(payload));
            until(handle, |counts| counts.appended == PARTS * (window + 1)).await;
            most = most.max(resident_kib().saturating_sub(before));
            held = held.max(handle.counts().memory.bytes);
        }
        (most, held, start.elapsed())
    })?;
    println!(
        "an hour without a receiver: {HOUR} windows of {PARTS} x {} KiB in {:.1} s: {:.1} MiB of payloads in memory at most, resident {:.1} MiB more than before",
        LENGTH >> 10,
        took.as_secs_f64(),
        held as f64 / f64::from(1 << 20),
        most as f64 / 1024.0,
    );
    Ok(())
}

fn line(what: &str, took: Duration) {
    let mebibytes = (PAYLOADS as usize * LENGTH) as f64 / f64::from(1 << 20);
    println!(
        "{what:32} {:8.0} payloads/s {:8.1} MiB/s",
        PAYLOADS as f64 / took.as_secs_f64(),
        mebibytes / took.as_secs_f64(),
    );
}

fn measure(place: &Path) -> io::Result<()> {
    let fresh = || tempfile::tempdir_in(place);
    hour_without_receiver(fresh()?.path())?;
    println!(
        "{PAYLOADS} payloads of {} KiB in {}",
        LENGTH >> 10,
        place.display()
    );
    for together in [1, TOGETHER] {
        println!("pushed {together} at a time:");
        line("  plain write and fsync", plain(fresh()?.path(), together)?);
        for (name, sync) in [
            ("always", SyncPolicy::Always),
            ("interval 1 s", SyncPolicy::Interval(Duration::from_secs(1))),
        ] {
            let config = Config {
                sync,
                ..Config::default()
            };
            let [appending, draining] = append_and_drain(fresh()?.path(), config, together)?;
            line(&format!("  append, sync {name}"), appending);
            line(&format!("  drain, sync {name}"), draining);
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    profiler_agent::telemetry::memory::keep_small();
    let mut arguments = std::env::args().skip(1);
    let place = arguments.find(|argument| !argument.starts_with("--"));
    measure(&place.map_or_else(std::env::temp_dir, PathBuf::from))
}
