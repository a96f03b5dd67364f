//! Attempts to send to one destination: how they ended and how long they took.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver has all of it.
    Accepted,
    /// The receiver has it and rejected a part.
    PartlyRejected,
    /// To be tried again.
    Retry,
    /// Refused for good.
    Refused,
}

impl AttemptOutcome {
    /// Every outcome, in order of declaration.
    pub const ALL: [Self; 4] = [
        Self::Accepted,
        Self::PartlyRejected,
        Self::Retry,
        Self::Refused,
    ];

    /// Its name in metrics and spans.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::PartlyRejected => "partly_rejected",
            Self::Retry => "retry",
            Self::Refused => "refused",
        }
    }
}

/// Upper bounds of the buckets of a [`LatencyHistogram`] in milliseconds; one more has no bound.
pub const LATENCY_BOUNDS_MS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 10_000];

/// How long attempts took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Attempts by bucket; the last is that without a bound.
    pub buckets: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// The time of all together.
    pub sum: Duration,
}

impl LatencyHistogram {
    /// Counts one. A bucket holds what is not longer than its bound.
    pub fn add(&mut self, took: Duration) {
        let bucket = LATENCY_BOUNDS_MS
            .iter()
            .position(|bound| took <= Duration::from_millis(*bound))
            .unwrap_or(LATENCY_BOUNDS_MS.len());
        self.buckets[bucket] += 1;
        self.sum += took;
    }

    /// All attempts.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Attempts so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    /// By outcome, in the order of [`AttemptOutcome::ALL`].
    pub outcomes: [u64; AttemptOutcome::ALL.len()],
    /// How long they took.
    pub latency: LatencyHistogram,
}

impl AttemptCounts {
    /// Counts one.
    pub fn add(&mut self, outcome: AttemptOutcome, took: Duration) {
        self.outcomes[outcome as usize] += 1;
        self.latency.add(took);
    }
}

/// The attempts of one destination, counted where they are made and read where they are asked for.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<AttemptCounts>);

impl Attempts {
    /// Counts one.
    pub fn add(&self, outcome: AttemptOutcome, took: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.add(outcome, took);
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> AttemptCounts {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_in_the_first_bucket_that_holds_it() {
        let mut histogram = LatencyHistogram::default();
        for (milliseconds, bucket) in [(0, 0), (5, 0), (6, 1), (10_000, 9), (10_001, 10)] {
            let before = histogram.buckets[bucket];
            histogram.add(Duration::from_millis(milliseconds));
            assert_eq!(histogram.buckets[bucket], before + 1, "{milliseconds} ms");
        }
        assert_eq!(histogram.count(), 5);
        assert_eq!(histogram.sum, Duration::from_millis(20_012));
    }
}
