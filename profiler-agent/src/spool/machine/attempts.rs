//! Which payloads are sent, and what their attempts' ends mean.

use std::ops::Bound;

use super::disk::Disk;
use super::entry::{Entry, Place, Work};
use super::event::{Action, Outcome, Record};
use super::shutdown::Phase;
use super::{State, Turn};
use crate::profile::DeliveryCause;
use crate::profile::payload::BreakerState;

impl State {
    /// Attempts that are under way, and payloads that are read for one.
    pub(super) fn busy(&self) -> usize {
        self.sending.len() + self.loading
    }
}

impl Turn<'_> {
    /// Starts the attempts that may be started now, oldest first. What cannot be read now stands back for what is
    /// in memory.
    pub(super) fn attempt(&mut self) {
        if !matches!(self.state.phase, Phase::Running | Phase::Flushing { .. }) {
            return;
        }
        let allowed = self.state.retry.allowed(self.config, self.now);
        if self.state.retry.state(self.config) == BreakerState::Open
            && self.state.busy() < allowed
            && let Some(record) = self.turn_taker()
        {
            self.begin(record);
        }
        for suspects in [false, true] {
            if suspects && self.state.failing.is_empty() {
                return;
            }
            let mut from = Bound::Unbounded;
            while self.state.busy() < allowed {
                let next =
                    |entry: &Entry| self.is_ready(entry) && self.is_suspect(entry) == suspects;
                let mut later = self.state.entries.range((from, Bound::Unbounded));
                let Some(record) = later
                    .find(|(_, entry)| next(entry))
                    .map(|(record, _)| *record)
                else {
                    break;
                };
                from = Bound::Excluded(record);
                self.begin(record);
            }
        }
    }

    /// Sends it, or reads it to be sent, where that can be.
    fn begin(&mut self, record: Record) {
        let Some(entry) = self.state.find(record, Entry::is_waiting) else {
            return;
        };
        if self.is_to_be_written_first(&entry) {
            return;
        }
        if entry.held {
            self.ask(Action::Send(record));
            let work = Work::Sending { stale: false };
            self.state.change(record, |entry| entry.work = work);
        } else if matches!(self.state.disk, Disk::Ready { .. }) && self.makes_room(&entry) {
            self.ask(Action::Load(record));
            self.state.change(record, |entry| {
                entry.held = true;
                entry.work = Work::Loading;
            });
        }
    }

    fn is_to_be_written_first(&self, entry: &Entry) -> bool {
        self.config.write_after.is_zero()
            && entry.place != Place::Present
            && matches!(self.state.disk, Disk::Ready { .. } | Disk::Opening)
    }

    /// Makes room in memory for a payload that is only on disk, by forgetting others that are on disk too; none
    /// where that would not be enough, or the next one would be read in vain again and again.
    fn makes_room(&mut self, entry: &Entry) -> bool {
        let held = self.state.held;
        let fits = |spared: u64, payloads: u64| {
            held.payloads == payloads
                || (held.bytes - spared).saturating_add(entry.item.length) <= self.config.memory
        };
        let (mut spared, mut forgotten) = (0, Vec::new());
        // The last one's turn is the farthest away.
        for record in self.state.spare.iter().rev() {
            if fits(spared, forgotten.len() as u64) {
                break;
            }
            spared += self.state.entries[record].item.length;
            forgotten.push(*record);
        }
        if !fits(spared, forgotten.len() as u64) {
            return false;
        }
        for record in forgotten {
            self.forget(record);
        }
        true
    }

    /// An attempt ended.
    pub(super) fn finished(&mut self, record: Record, outcome: Outcome, chance: f64) {
        let Some(Work::Sending { stale }) = self.state.entries.get(&record).map(|entry| entry.work)
        else {
            return;
        };
        match outcome {
            Outcome::Delivered | Outcome::Refused => {
                // An attempt that began before the last failure does not say that it is over.
                if !stale {
                    self.compare(record);
                    self.state.retry.succeeded();
                }
                if outcome == Outcome::Refused {
                    self.lose(record, DeliveryCause::ReceiverRefused);
                } else {
                    self.finish(record);
                }
            }
            Outcome::Retry { after } => {
                self.state
                    .change(record, |entry| entry.work = Work::Waiting);
                self.suspect(record);
                if stale {
                    return self.state.retry.wait(self.now, after);
                }
                let retry = &mut self.state.retry;
                retry.failed(self.config, self.now, after, chance);
                for other in self.state.sending.clone() {
                    let work = Work::Sending { stale: true };
                    self.state.change(other, |entry| entry.work = work);
                }
            }
        }
    }
}
