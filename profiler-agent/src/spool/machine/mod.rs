//! The decisions of one destination's queue: a pure transition function. Time and chance come in as values, what
//! is to be done goes out as [`Action`]s; nothing here does I/O, reads a clock or waits.
//!
//! # A payload's way
//! ```text
//! Pushed -> memory -> Send -> Delivered
//!              |        \-> Refused, counted
//!              |         \-> Retry: written to disk, and again when its turn comes
//!              \-> Append -> disk -> Load -> memory -> Send .. -> Remove
//! ```
//! It is sent at once when it may be; it is written to disk when it may not, when an attempt fails, when it is not
//! acknowledged within [`Config::write_after`], and when the queue ends. The oldest goes first, but for one that fails
//! while others do not: it holds them back for as long as the breaker needs to open, and rests between its attempts
//! from then on.
//!
//! # Guarantees
//! The model of `tests/spool_model.rs` checks them over this very function:
//! - A payload is in memory, on disk, delivered, or named once by [`Action::Lost`]. A crash takes only what was not
//!   on disk.
//! - Once a payload is delivered it is not sent again; after a crash only when its removal was not done.
//! - At most [`Config::concurrency`] attempts, [`Config::memory`] bytes in memory (or one payload), the spool's room on
//!   disk.
//! - While something waits, something is under way or [`State::due`] says when to go on.
//! - After [`Event::Shutdown`] comes [`Action::Ended`], at the latest the flush time and [`Config::store_within`] later,
//!   and then everything undelivered is on disk where there is a disk that works.
//!
//! # What is asked of the disk
//! At most [`MOST_APPENDS`] appends, [`MOST_REMOVALS`] removals and `concurrency` loads are under way: a channel that
//! they go through is bounded by that. After a failure nothing is asked for [`Config::disk_retry`].

mod attempts;
mod bounds;
mod disk;
mod entry;
mod event;
mod retry;
mod shutdown;
mod suspects;
mod timer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::config::Config;
use crate::profile::DeliveryCause;
use crate::profile::UnixTime;
use crate::profile::payload::{BreakerState, Waiting};
use disk::Disk;
use entry::{Entry, Leaving, Place};
use retry::Retry;
use shutdown::Phase;

pub use disk::{MOST_APPENDS, MOST_REMOVALS};
pub use event::{Action, Event, Item, Moment, Outcome, Record};

/// A destination's queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    entries: BTreeMap<Record, Entry>,
    /// Entries that are not on disk, nor on their way there: their bytes are in memory.
    absent: BTreeSet<Record>,
    /// Entries that are in memory and on disk, and not being sent.
    spare: BTreeSet<Record>,
    sending: BTreeSet<Record>,
    /// Entries with failed attempts.
    failing: BTreeSet<Record>,
    /// Entries that are not sent before this moment, because only they fail.
    resting: BTreeMap<Record, Moment>,
    loading: usize,
    /// With those that nobody wants any more.
    appending: usize,
    leaving: Leaving,
    /// In memory.
    held: Waiting,
    /// On disk, coming and leaving too.
    used: Waiting,
    disk: Disk,
    retry: Retry,
    phase: Phase,
}

impl State {
    /// An empty queue, with a spool or without. The first event opens the spool.
    #[must_use]
    pub fn new(spooled: bool) -> Self {
        Self {
            entries: BTreeMap::new(),
            absent: BTreeSet::new(),
            spare: BTreeSet::new(),
            sending: BTreeSet::new(),
            failing: BTreeSet::new(),
            resting: BTreeMap::new(),
            loading: 0,
            appending: 0,
            leaving: Leaving::default(),
            held: Waiting::default(),
            used: Waiting::default(),
            disk: if spooled {
                Disk::Closed { until: Moment(0) }
            } else {
                Disk::None
            },
            retry: Retry::default(),
            phase: Phase::Running,
        }
    }

    /// Takes an event that happened at `now`; what is to be done then.
    pub fn step(&mut self, config: &Config, now: Moment, event: Event) -> Vec<Action> {
        let mut turn = Turn {
            state: self,
            config,
            now,
            actions: Vec::new(),
        };
        turn.take(event);
        if turn.state.phase != Phase::Ended {
            turn.settle();
        }
        turn.actions
    }

    /// Payloads that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.entries.len() as u64
    }
    /// Those in memory.
    #[must_use]
    pub fn in_memory(&self) -> Waiting {
        self.held
    }
    /// What is on disk, coming and leaving too.
    #[must_use]
    pub fn on_disk(&self) -> Waiting {
        self.used
    }
    /// Bytes that payloads may take on disk, where that is known.
    #[must_use]
    pub fn room(&self) -> Option<u64> {
        self.disk.room()
    }
    /// Has it ended?
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }
    /// When the oldest one's window was closed.
    #[must_use]
    pub fn oldest(&self) -> Option<UnixTime> {
        let (_, entry) = self.entries.first_key_value()?;
        Some(entry.item.end)
    }
    /// Is the destination given a rest?
    #[must_use]
    pub fn breaker(&self, config: &Config) -> BreakerState {
        self.retry.state(config)
    }
    /// Is a payload with this number waiting, with its bytes in memory?
    #[must_use]
    pub fn holds(&self, record: Record) -> bool {
        self.find(record, |entry| {
            entry.held && entry.work != entry::Work::Loading
        })
        .is_some()
    }
    /// Is a payload with this number waiting, and known to be on disk?
    #[must_use]
    pub fn stores(&self, record: Record) -> bool {
        self.find(record, |entry| entry.place == Place::Present)
            .is_some()
    }
}

/// One event's consequences.
struct Turn<'a> {
    state: &'a mut State,
    config: &'a Config,
    now: Moment,
    actions: Vec<Action>,
}

impl Turn<'_> {
    fn ask(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Pushed(item) if self.state.phase == Phase::Ended => {
                self.ask(Action::Lost(
                    item.record,
                    DeliveryCause::ShutdownUndelivered,
                ));
                self.ask(Action::Forget(item.record));
            }
            Event::Pushed(item) => self.state.insert(item, self.now, Place::Absent),
            Event::Finished {
                record,
                outcome,
                chance,
            } => self.finished(record, outcome, chance),
            Event::Tick => {}
            Event::Shutdown(flush) => self.shut_down(flush),
            answer => self.answered(answer),
        }
    }

    /// Everything that can be done now. Attempts come before writing: what is being sent need not be written yet.
    fn settle(&mut self) {
        self.recover_disk();
        self.expire();
        self.fit_memory();
        self.attempt();
        self.stop_delivering();
        self.append();
        self.remove();
        self.stop_storing();
    }
}
