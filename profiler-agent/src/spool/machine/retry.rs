//! When the next attempt may be made: backoff, the receiver's floor, the circuit breaker.

use std::time::Duration;

use super::event::Moment;
use crate::profile::payload::BreakerState;
use crate::spool::config::Config;

/// Longest delay that a receiver may ask for.
const LONGEST_FLOOR: Duration = Duration::from_secs(3_600);

/// What failures there were, as far as they matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Retry {
    /// Failures in a row; not counted beyond what opens the breaker.
    failures: u32,
    /// The interval of the next delay; the first one where there is none.
    interval: Option<Duration>,
    /// No attempt before this.
    at: Option<Moment>,
    /// Not even in a hurry: the receiver said so.
    floor: Option<Moment>,
}

impl Retry {
    /// How many attempts may be under way at `now`.
    pub(super) fn allowed(&self, config: &Config, now: Moment) -> usize {
        match (self.at, self.state(config)) {
            (Some(at), _) if at > now => 0,
            (_, BreakerState::Open) => 1,
            (_, BreakerState::Closed) => config.concurrency.max(1),
        }
    }

    /// When attempts may be made again, where that is after `now`.
    pub(super) fn next(&self, now: Moment) -> Option<Moment> {
        self.at.filter(|at| *at > now)
    }

    pub(super) fn state(&self, config: &Config) -> BreakerState {
        if config.breaker.failures > 0 && self.failures >= config.breaker.failures {
            BreakerState::Open
        } else {
            BreakerState::Closed
        }
    }

    /// The receiver is there.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed.
    pub(super) fn failed(
        &mut self,
        config: &Config,
        now: Moment,
        after: Option<Duration>,
        chance: f64,
    ) {
        let most = config.breaker.failures.max(1);
        self.failures = self.failures.saturating_add(1).min(most);
        let interval = self.interval.unwrap_or(config.backoff.initial);
        self.interval = Some(config.backoff.next(interval));
        let interval = match self.state(config) {
            BreakerState::Open => interval.max(config.breaker.interval),
            BreakerState::Closed => interval,
        };
        self.at = Some(now.plus(config.backoff.delay(interval, chance)));
        self.floor = None;
        self.wait(now, after);
    }

    /// The receiver asked for a delay.
    pub(super) fn wait(&mut self, now: Moment, after: Option<Duration>) {
        let floor = after.map(|after| now.plus(after.min(LONGEST_FLOOR)));
        self.floor = self.floor.max(floor);
        self.at = self.at.max(floor);
    }

    /// Time is short: what waits for no reason but our own caution may go now.
    pub(super) fn hurry(&mut self) {
        self.at = self.floor;
    }

    /// Moves its moments; those that are over are no more.
    pub(super) fn shift(&mut self, now: Moment, moved: impl Fn(Moment) -> Moment) {
        let kept = |moment: Option<Moment>| moment.filter(|at| *at > now).map(&moved);
        self.at = kept(self.at);
        self.floor = kept(self.floor);
    }
}
