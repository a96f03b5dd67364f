//! Payloads that fail while others do not.
//!
//! Oldest first means that a payload which its receiver never takes, and never refuses either, would hold back all
//! others. So while the breaker is open, the attempts go round among the oldest ones. A payload that failed as
//! often as opens the breaker lets others go first, and when a younger one is delivered then, it rests.

use super::Turn;
use super::entry::Entry;
use super::event::Record;
use crate::profile::payload::BreakerState;

/// How many of the oldest take turns while the breaker is open.
const TAKING_TURNS: usize = 8;
/// How long a suspect rests, in intervals of the breaker.
const REST: u32 = 2;

impl Turn<'_> {
    /// Failures that make a suspect; there is none without a breaker.
    fn most_failures(&self) -> u32 {
        match self.config.breaker.failures {
            0 => u32::MAX,
            failures => failures,
        }
    }

    /// Did it fail so often that others go first?
    pub(super) fn is_suspect(&self, entry: &Entry) -> bool {
        entry.failures >= self.most_failures()
    }

    /// May it be sent now?
    pub(super) fn is_ready(&self, entry: &Entry) -> bool {
        let rests = self.state.resting.get(&entry.item.record);
        entry.is_waiting() && rests.is_none_or(|until| *until <= self.now)
    }

    /// While the breaker is open: which one is to be tried.
    pub(super) fn turn_taker(&self) -> Option<Record> {
        let entries = self.state.entries.values();
        let ready = entries
            .filter(|entry| self.is_ready(entry))
            .take(TAKING_TURNS);
        let chosen = ready.min_by_key(|entry| entry.failures)?;
        Some(chosen.item.record)
    }

    /// An attempt for this one failed.
    pub(super) fn suspect(&mut self, record: Record) {
        let most = match self.most_failures() {
            u32::MAX => 0,
            most => most,
        };
        self.state.change(record, |entry| {
            entry.failures = entry.failures.saturating_add(1).min(most);
        });
    }

    /// This one was delivered. When the breaker was open, nothing else could be: everybody gets another chance. Else
    /// what is older and failed so often has no excuse.
    pub(super) fn compare(&mut self, delivered: Record) {
        let most = self.most_failures();
        let excused = self.state.retry.state(self.config) == BreakerState::Open;
        let rest = self.config.breaker.interval.saturating_mul(REST);
        for record in self.state.failing.clone() {
            let suspect = |entry: &Entry| entry.is_waiting() && entry.failures >= most;
            if self.state.find(record, suspect).is_none() {
                continue;
            }
            if excused {
                self.state.change(record, |entry| entry.failures = most - 1);
            } else if record < delivered {
                self.state.resting.insert(record, self.now.plus(rest));
            }
        }
    }
}
