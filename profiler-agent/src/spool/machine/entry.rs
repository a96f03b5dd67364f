//! One payload of a queue, and the books over all of them.

use super::event::{Action, Item, Moment, Record};
use super::{State, Turn};
use crate::profile::DeliveryCause;
use crate::profile::payload::Waiting;

/// One payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) item: Item,
    /// When it was pushed; for what an earlier run left, when its window was closed.
    pub(super) born: Moment,
    /// Its bytes are in memory, or on their way there.
    pub(super) held: bool,
    pub(super) place: Place,
    pub(super) work: Work,
    /// It was said that it could not be written.
    pub(super) unwritten: bool,
    /// Attempts that failed; not counted beyond what makes it a suspect.
    pub(super) failures: u32,
}

/// Where a payload is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Absent,
    Appending,
    Present,
}

/// What is being done to deliver a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    Waiting,
    Loading,
    /// `stale`: another attempt failed since this one began, so that its own failure says nothing new.
    Sending {
        stale: bool,
    },
}

impl Entry {
    pub(super) fn is_waiting(&self) -> bool {
        self.work == Work::Waiting
    }
}

/// Payloads that are only on disk, for their removal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    /// Being appended although nobody wants them any more, with their bytes on disk.
    pub(super) orphans: std::collections::BTreeMap<Record, u64>,
    /// To be removed.
    pub(super) doomed: std::collections::BTreeMap<Record, u64>,
    /// Being removed.
    pub(super) removing: std::collections::BTreeMap<Record, u64>,
    /// Bytes of all of them.
    pub(super) bytes: u64,
}

impl Leaving {
    pub(super) fn is_empty(&self) -> bool {
        self.orphans.is_empty() && self.doomed.is_empty() && self.removing.is_empty()
    }
}

pub(super) fn count(waiting: &mut Waiting, bytes: u64) {
    waiting.payloads += 1;
    waiting.bytes = waiting.bytes.saturating_add(bytes);
}

pub(super) fn discount(waiting: &mut Waiting, bytes: u64) {
    waiting.payloads = waiting.payloads.saturating_sub(1);
    waiting.bytes = waiting.bytes.saturating_sub(bytes);
}

impl State {
    /// The one place that keeps the books: everything that is known of all payloads together.
    fn enter(&mut self, entry: &Entry) {
        let record = entry.item.record;
        if entry.held {
            count(&mut self.held, entry.item.length);
        }
        match entry.place {
            Place::Absent => {
                self.absent.insert(record);
            }
            Place::Appending => {
                self.appending += 1;
                count(&mut self.used, entry.item.stored);
            }
            Place::Present => count(&mut self.used, entry.item.stored),
        }
        match entry.work {
            Work::Waiting if entry.held && entry.place == Place::Present => {
                self.spare.insert(record);
            }
            Work::Waiting => {}
            Work::Loading => self.loading += 1,
            Work::Sending { .. } => {
                self.sending.insert(record);
            }
        }
        if entry.failures > 0 {
            self.failing.insert(record);
        }
        self.entries.insert(record, *entry);
    }

    /// Undoes [`Self::enter`].
    fn leave(&mut self, record: Record) -> Option<Entry> {
        let entry = self.entries.remove(&record)?;
        if entry.held {
            discount(&mut self.held, entry.item.length);
        }
        match entry.place {
            Place::Absent => {
                self.absent.remove(&record);
            }
            Place::Appending => {
                self.appending -= 1;
                discount(&mut self.used, entry.item.stored);
            }
            Place::Present => discount(&mut self.used, entry.item.stored),
        }
        self.spare.remove(&record);
        self.sending.remove(&record);
        self.failing.remove(&record);
        if entry.work == Work::Loading {
            self.loading -= 1;
        }
        Some(entry)
    }

    /// Adds a payload.
    pub(super) fn insert(&mut self, item: Item, born: Moment, place: Place) {
        self.leave(item.record);
        self.enter(&Entry {
            item,
            born,
            held: place == Place::Absent,
            place,
            work: Work::Waiting,
            unwritten: false,
            failures: 0,
        });
    }

    /// Changes a payload where it is there.
    pub(super) fn change(&mut self, record: Record, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.leave(record) {
            change(&mut entry);
            self.enter(&entry);
        }
    }

    /// The payload with this number, where it is being worked on so.
    pub(super) fn find(&self, record: Record, is: impl Fn(&Entry) -> bool) -> Option<Entry> {
        self.entries.get(&record).copied().filter(|entry| is(entry))
    }
}

impl Turn<'_> {
    /// A payload's way ends: its bytes leave memory, and the disk where they are there.
    pub(super) fn finish(&mut self, record: Record) {
        let Some(entry) = self.state.leave(record) else {
            return;
        };
        self.state.resting.remove(&record);
        if entry.held {
            self.ask(Action::Forget(record));
        }
        let stored = entry.item.stored;
        let state = &mut *self.state;
        match entry.place {
            Place::Absent => return,
            Place::Appending => {
                state.appending += 1;
                state.leaving.orphans.insert(record, stored);
            }
            Place::Present => {
                state.leaving.doomed.insert(record, stored);
            }
        }
        state.leaving.bytes += stored;
        count(&mut state.used, stored);
    }

    /// [`Self::finish`], undelivered.
    pub(super) fn lose(&mut self, record: Record, cause: DeliveryCause) {
        self.ask(Action::Lost(record, cause));
        self.finish(record);
    }

    /// The disk keeps it; memory does no more.
    pub(super) fn forget(&mut self, record: Record) {
        self.state.change(record, |entry| entry.held = false);
        self.ask(Action::Forget(record));
    }
}
