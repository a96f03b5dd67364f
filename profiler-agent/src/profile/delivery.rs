//! What became of the payloads of one destination, in numbers.

use std::time::Duration;

use super::payload::Delivery;
use super::{DeliveryLosses, UnixTime};

/// What a destination did so far, and what waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Payloads delivered.
    pub delivered: u64,
    /// Samples in them.
    pub samples: u64,
    /// Samples in all payloads that were handed over.
    pub taken: u64,
    /// Samples that an earlier run or an earlier queue left on disk, and this one found there.
    pub found: u64,
    /// Samples in the payloads that wait.
    pub waiting_samples: u64,
    /// Samples that queues which have ended left on disk, for whoever opens it next.
    pub left: u64,
    /// Payloads waiting, wherever they are.
    pub waiting: u64,
    /// Of these, those whose bytes are in memory; a payload may be in memory and on disk.
    pub memory: Waiting,
    /// What the spool's file holds; delivered payloads too until their removal is done.
    pub disk: Waiting,
    /// Bytes that payloads may take there; none without a spool.
    pub room: Option<u64>,
    /// When the window of the oldest payload that waits was closed.
    pub oldest: Option<UnixTime>,
    /// Attempts by how they ended.
    pub attempts: Attempts,
    /// How long attempts took.
    pub latencies: Latencies,
    /// Is the destination given a rest?
    pub breaker: BreakerState,
    /// Payloads written to the spool's file.
    pub appended: u64,
    /// Payloads removed from it.
    pub removed: u64,
    /// What was lost.
    pub losses: DeliveryLosses,
}

impl DeliveryCounts {
    /// Is each sample that came accounted for: delivered, lost with its cause, waiting, or left on disk?
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.taken + self.found
            == self.samples + self.losses.samples() + self.waiting_samples + self.left
    }

    /// Adds what an earlier queue of the same destination did; what waits is this one's alone, but for samples of
    /// one that has not ended yet.
    pub fn add_past(&mut self, past: &Self) {
        let Self {
            delivered,
            samples,
            taken,
            found,
            waiting_samples,
            left,
            attempts,
            latencies,
            appended,
            removed,
            losses,
            waiting: _,
            memory: _,
            disk: _,
            room: _,
            oldest: _,
            breaker: _,
        } = past;
        self.delivered += delivered;
        self.samples += samples;
        self.taken += taken;
        self.found += found;
        self.waiting_samples += waiting_samples;
        self.left += left;
        self.attempts.merge(attempts);
        self.latencies.merge(latencies);
        self.appended += appended;
        self.removed += removed;
        self.losses.merge(losses);
    }
}

/// Payloads and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// Payloads.
    pub payloads: u64,
    /// Bytes; on disk, with what storing them takes.
    pub bytes: u64,
}

/// Attempts to deliver, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// The receiver has all of it.
    pub accepted: u64,
    /// The receiver has it and rejected profiles of it.
    pub partly_rejected: u64,
    /// To be repeated.
    pub retry: u64,
    /// Never to be delivered.
    pub refused: u64,
}

impl Attempts {
    /// Counts one.
    pub fn add(&mut self, delivery: &Delivery) {
        let count = match delivery {
            Delivery::Accepted => &mut self.accepted,
            Delivery::PartlyRejected { .. } => &mut self.partly_rejected,
            Delivery::Retry { .. } => &mut self.retry,
            Delivery::Refused { .. } => &mut self.refused,
        };
        *count += 1;
    }
    /// Counts all that `other` counted.
    pub const fn merge(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.partly_rejected += other.partly_rejected;
        self.retry += other.retry;
        self.refused += other.refused;
    }
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.accepted + self.partly_rejected + self.retry + self.refused
    }
}

/// A histogram of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// How many were longer than the bound before and at most [`Self::BOUNDS`] of the same index; the last ones
    /// were longer than all bounds.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Latencies {
    /// Upper bounds of the buckets, inclusive.
    pub const BOUNDS: [Duration; 13] = [
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2_500),
        Duration::from_secs(5),
        Duration::from_secs(10),
        Duration::from_secs(30),
        Duration::from_secs(60),
    ];

    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < took);
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(took);
    }
    /// Counts all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }
    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Whether a destination is given a rest after failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It is not: attempts as usual.
    #[default]
    Closed,
    /// It is: one attempt an interval, to see whether it is back.
    Open,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn a_bound_is_in_its_own_bucket() {
        let mut latencies = Latencies::default();
        for millis in [0, 5, 6, 60_000, 60_001] {
            latencies.add(Duration::from_millis(millis));
        }
        assert_eq!(latencies.buckets[..2], [2, 1]);
        assert_eq!(latencies.buckets[12..], [1, 1]);
        assert_eq!(latencies.count(), 5);
        assert_eq!(latencies.sum, Duration::from_millis(120_012));
    }
}
