//! How a destination's queue is to behave.

use std::time::Duration;

/// How a destination's queue is to behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Bytes of payloads in memory; one payload may be larger when it is the only one.
    pub memory: u64,
    /// Length of the spool's file in bytes, which at least three eighths of are for payloads. At least
    /// [`Config::MIN_DISK`].
    pub disk: u64,
    /// How long after its window was closed a payload is worth delivering.
    pub age: Duration,
    /// Attempts that may be under way at the same time; at least one.
    pub concurrency: usize,
    /// A payload that is not acknowledged within this time of its push is written to disk; zero: it is written
    /// before it is sent.
    pub write_after: Duration,
    /// When what was written is safe.
    pub sync: SyncPolicy,
    /// When a failed attempt is repeated.
    pub backoff: Backoff,
    /// When a destination is given a rest.
    pub breaker: Breaker,
    /// When a disk that failed is tried again.
    pub disk_retry: Duration,
    /// How long writing what is undelivered may take when the agent stops.
    pub store_within: Duration,
}

impl Config {
    /// The least that `disk` may be.
    pub const MIN_DISK: u64 = 8 << 20;
}

impl Default for Config {
    /// 16 MiB in memory, 512 MiB on disk for a day, two attempts at a time, written after half a second.
    fn default() -> Self {
        Self {
            memory: 16 << 20,
            disk: 512 << 20,
            age: Duration::from_secs(24 * 3_600),
            concurrency: 2,
            write_after: Duration::from_millis(500),
            sync: SyncPolicy::Always,
            backoff: Backoff::default(),
            breaker: Breaker::default(),
            disk_retry: Duration::from_secs(5),
            store_within: Duration::from_secs(1),
        }
    }
}

/// When what was written is safe from a crash of the agent and from power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// As soon as it counts as written: one fsync for what is written together.
    #[default]
    Always,
    /// At most this much later. A crash within it takes what was written since, and brings back what was
    /// removed since: it is delivered again.
    Interval(Duration),
}

/// When a failed attempt is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// First interval.
    pub initial: Duration,
    /// What each interval is longer than the one before by.
    pub multiplier: f64,
    /// Longest interval.
    pub max: Duration,
    /// How far a delay may be from its interval: 0.5 means half to one and a half of it.
    pub jitter: f64,
}

impl Default for Backoff {
    /// Those of the OpenTelemetry collector: 5 s, x1.5, 30 s, 50 %.
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(5),
            multiplier: 1.5,
            max: Duration::from_secs(30),
            jitter: 0.5,
        }
    }
}

impl Backoff {
    /// The delay for an interval; `chance` is in 0..1.
    #[must_use]
    pub fn delay(&self, interval: Duration, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        scaled(interval, 1.0 + self.jitter * (2.0 * chance - 1.0))
    }
    /// The interval after `interval`.
    #[must_use]
    pub fn next(&self, interval: Duration) -> Duration {
        scaled(interval, self.multiplier.max(1.0)).min(self.max)
    }
}

/// Not even nonsense as a factor makes it panic.
fn scaled(interval: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(interval.as_secs_f64() * factor.max(0.0)).unwrap_or(interval)
}

/// When a destination is given a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failed attempts in a row after which it is; zero: never.
    pub failures: u32,
    /// One attempt is made this often then (with the backoff's jitter).
    pub interval: Duration,
}

impl Default for Breaker {
    /// After 5 failures in a row, every 30 s.
    fn default() -> Self {
        Self {
            failures: 5,
            interval: Duration::from_secs(30),
        }
    }
}
