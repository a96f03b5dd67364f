//! Bytes on the wire and time to make them, for what the agent really sees: ten seconds of the standard
//! mix at 99 Hz, recorded by the agent, encoded as its windows are.

use std::hint::black_box;
use std::time::Duration;

use profiler_agent::export::{ReadLimits, otlp, pprof};
use profiler_agent::profile::{Coding, Profile, WindowUuid};
use profiler_tests::agent;
use profiler_tests::build::text;
use profiler_tests::measure::standard_mix;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

/// Seconds of a window of the agent's default.
const WINDOW: &str = "10";
const ROUNDS: u32 = 20;

fn main() {
    let profile = recorded();
    println!(
        "{} samples of {} threads, {} stacks, {} locations, {} functions",
        profile.sample_count(),
        profile.threads.len(),
        profile.stacks.len(),
        profile.locations.len(),
        profile.functions.len(),
    );
    for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
        let options = otlp::Options {
            coding,
            ..otlp::Options::default()
        };
        let window = WindowUuid::new(profile.start, 1);
        let name = format!("OTLP {}", coding.name().unwrap_or("plain"));
        report(&name, &profile, || {
            let payloads = otlp::encode(&profile, window, &options);
            payloads.iter().map(|payload| payload.bytes.len()).sum()
        });
    }
    report("pprof gzip", &profile, || {
        pprof::encode(&profile).expect("memory takes all").len()
    });
}

/// What one window of the agent holds.
fn recorded() -> Profile {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("window.otlp");
    let _mix = standard_mix();
    let status = agent::command(&["record", "-F", "99", "-d", WINDOW, "-o", text(&file)])
        .status()
        .expect("the agent starts");
    assert!(status.success(), "{status}");
    let bytes = std::fs::read(&file).expect("the recording is there");
    otlp::decode(&bytes, &ReadLimits::default()).expect("it is a request")
}

/// The best of some rounds, in CPU time.
fn report(name: &str, profile: &Profile, encode: impl Fn() -> usize) {
    let samples = profile.sample_count() as f64;
    let (mut best, mut bytes) = (Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let start = processor_time();
        bytes = black_box(encode());
        best = best.min(processor_time() - start);
    }
    let rate = samples / best.as_secs_f64();
    let each = bytes as f64 / samples;
    println!("{name:<12} {each:>8.1} bytes/sample {rate:>12.0} samples/s on one core");
}

/// CPU time of this thread: what else the machine does is no part of it.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
