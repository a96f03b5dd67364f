//! When a queue has something to do without being told, and the same queue at another time.

use std::time::Duration;

use super::State;
use super::disk::Disk;
use super::entry::Place;
use super::event::Moment;
use super::shutdown::Phase;
use crate::spool::config::Config;

impl State {
    /// When [`Event::Tick`](super::Event::Tick) is due at the latest, where that is after `now`.
    #[must_use]
    pub fn due(&self, config: &Config, now: Moment) -> Option<Moment> {
        if self.phase == Phase::Ended {
            return None;
        }
        let oldest = self.entries.values().find(|entry| entry.is_waiting());
        let expires = oldest.map(|entry| entry.born.plus(config.age));
        let retry = self.retry.next(now).filter(|_| !self.entries.is_empty());
        let unwritten = self
            .sending
            .iter()
            .filter_map(|record| self.find(*record, |entry| entry.place == Place::Absent))
            .map(|entry| entry.born.plus(config.write_after))
            .filter(|_| self.disk != Disk::None);
        [self.disk.retry_at(), self.phase.until(), expires, retry]
            .into_iter()
            .flatten()
            .chain(unwritten)
            .chain(self.resting.values().copied())
            .filter(|at| *at > now)
            .min()
    }

    /// The same queue, `now` being `then`, with nothing remembered that is over: queues that differ only by when they came to be what they
    /// are become equal. For checking models, whose clocks would go on for ever.
    #[must_use]
    pub fn shifted(&self, config: &Config, now: Moment, then: Moment) -> Self {
        let moved = |at: Moment| {
            if at >= now {
                then.plus(at.since(now))
            } else {
                then.minus(now.since(at))
            }
        };
        let mut shifted = self.clone();
        shifted.retry.shift(now, moved);
        shifted.resting.retain(|_, until| *until > now);
        for until in shifted.resting.values_mut() {
            *until = moved(*until);
        }
        let relevant = if config.age == Duration::MAX {
            config.write_after
        } else {
            config.age.max(config.write_after)
        };
        let longest = then.minus(relevant);
        for entry in shifted.entries.values_mut() {
            entry.born = moved(entry.born).max(longest);
        }
        match &mut shifted.disk {
            Disk::Closed { until } | Disk::Failing { until, .. } => *until = moved(*until),
            Disk::None | Disk::Opening | Disk::Ready { .. } => {}
        }
        match &mut shifted.phase {
            Phase::Flushing { until } | Phase::Storing { until } => *until = moved(*until),
            Phase::Running | Phase::Ended => {}
        }
        shifted
    }
}
