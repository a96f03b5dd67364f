//! The spool over a real disk: killed at random moments, on a full disk, beside what hangs, within its bounds.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bounds;
mod full_disk;
mod hanging;
mod killed;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use profiler_agent::profile::payload::DeliveryCounts;
use profiler_agent::profile::{
    Coding, Delivery, Destination, Payload, PayloadId, UnixTime, WindowUuid,
};
use profiler_agent::spool::{Backoff, Breaker, Config, Handle};

/// The variable that tells a child where its spool is.
const DIRECTORY: &str = "SPOOL_TEST_DIRECTORY";
/// The variable that tells a child what its numbers are to start from.
const FIRST: &str = "SPOOL_TEST_FIRST";

/// The payload with this number; its bytes follow from number and length.
fn payload(number: u64, length: usize) -> Payload {
    Payload {
        id: PayloadId {
            window: WindowUuid::new(UnixTime(number), 1),
            part: number as u32,
        },
        start: UnixTime(number),
        end: now(),
        samples: length as u64,
        coding: Coding::Zstd,
        raw_length: number,
        bytes: content(number, length),
    }
}

fn content(number: u64, length: usize) -> Vec<u8> {
    let mut random = Random(number);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Its number, when it is what was made with it.
fn number_of(payload: &Payload) -> u64 {
    let number = payload.start.0;
    let made = self::payload(number, payload.samples as usize);
    let made = Payload {
        end: payload.end,
        ..made
    };
    assert_eq!(*payload, made, "payload {number} is another one");
    number
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime(since.as_nanos() as u64)
}

/// Numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Never takes anything.
struct Dead;

impl Destination for Dead {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        number_of(&payload);
        Delivery::Retry {
            after: None,
            message: "dead".into(),
        }
    }
}

/// Takes everything, and says how much.
#[derive(Clone, Default)]
struct Alive(Arc<std::sync::Mutex<Vec<u64>>>);

impl Destination for Alive {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        self.0.lock().unwrap().push(number_of(&payload));
        Delivery::Accepted
    }
}

fn quick() -> Config {
    Config {
        backoff: Backoff {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(20),
            ..Backoff::default()
        },
        breaker: Breaker {
            interval: Duration::from_millis(20),
            ..Breaker::default()
        },
        disk_retry: Duration::from_millis(20),
        ..Config::default()
    }
}

/// Looks at the counts until they are as wanted.
async fn until(handle: &Handle, is: impl Fn(&DeliveryCounts) -> bool) -> DeliveryCounts {
    let looking = async {
        loop {
            let counts = handle.counts();
            if is(&counts) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let counts = tokio::time::timeout(Duration::from_secs(60), looking).await;
    counts.unwrap_or_else(|_| panic!("{:?}", handle.counts()))
}

/// A runtime as the agent has it.
fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// This program again, to run the ignored test with this name; what it prints is for the caller.
fn child(test: &str, directory: &std::path::Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The directory and number of this child.
fn given() -> (std::path::PathBuf, u64) {
    let directory = std::env::var_os(DIRECTORY).expect("run by another test");
    let first = std::env::var(FIRST).unwrap().parse().unwrap();
    (directory.into(), first)
}
