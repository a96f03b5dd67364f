//! From the signal to the end.

use std::time::Duration;

use super::disk::Disk;
use super::entry::{Place, Work};
use super::event::{Action, Moment, Record};
use super::{State, Turn};
use crate::profile::DeliveryCause;

/// How far a queue's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// It delivers.
    Running,
    /// It delivers what it can until then.
    Flushing { until: Moment },
    /// It delivers no more; what is undelivered is written to disk, at the latest until then.
    Storing { until: Moment },
    /// It does nothing any more.
    Ended,
}

impl Phase {
    /// When it ends by itself.
    pub(super) fn until(self) -> Option<Moment> {
        match self {
            Self::Flushing { until } | Self::Storing { until } => Some(until),
            Self::Running | Self::Ended => None,
        }
    }
}

impl State {
    /// Is there nothing more to hope for before `until`? To be asked when all attempts that can be made are.
    fn is_flushed(&self, now: Moment, until: Moment) -> bool {
        if now >= until {
            return true;
        }
        let attempts_later = self.retry.next(now).is_some_and(|at| at < until);
        let waits = self.appending > 0 || attempts_later;
        self.busy() == 0 && (self.entries.is_empty() || !waits)
    }

    /// Is nothing left to do, or nothing possible?
    fn is_stored(&self, now: Moment, until: Moment) -> bool {
        let done = self.absent.is_empty() && self.appending == 0 && self.leaving.is_empty();
        let asked = self.appending > 0 || !self.leaving.removing.is_empty();
        let hopeless = match self.disk {
            Disk::None => true,
            Disk::Failing { .. } | Disk::Closed { .. } => !asked,
            Disk::Opening | Disk::Ready { .. } => false,
        };
        now >= until || done || hopeless
    }
}

impl Turn<'_> {
    /// The agent stops.
    pub(super) fn shut_down(&mut self, flush: Duration) {
        if self.state.phase == Phase::Running {
            let until = self.now.plus(flush);
            self.state.phase = Phase::Flushing { until };
            self.state.retry.hurry();
            self.state.resting.clear();
        }
    }

    /// From delivering to writing, when it is time.
    pub(super) fn stop_delivering(&mut self) {
        let Phase::Flushing { until } = self.state.phase else {
            return;
        };
        if !self.state.is_flushed(self.now, until) {
            return;
        }
        let until = self.now.plus(self.config.store_within);
        self.state.phase = Phase::Storing { until };
        for record in self.state.sending.clone() {
            self.ask(Action::Abandon(record));
            self.state
                .change(record, |entry| entry.work = Work::Waiting);
        }
        self.retry_disk();
    }

    /// From writing to the end, when it is time. What is not on disk then is lost.
    pub(super) fn stop_storing(&mut self) {
        let Phase::Storing { until } = self.state.phase else {
            return;
        };
        if !self.state.is_stored(self.now, until) {
            return;
        }
        let lost: Vec<Record> = self
            .state
            .entries
            .values()
            .filter(|entry| entry.place != Place::Present)
            .map(|entry| entry.item.record)
            .collect();
        for record in lost {
            self.lose(record, DeliveryCause::ShutdownUndelivered);
        }
        self.state.phase = Phase::Ended;
        self.ask(Action::Ended);
    }
}
