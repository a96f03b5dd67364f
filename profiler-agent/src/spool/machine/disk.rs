//! What is asked of the disk, and what its answers mean.

use std::ops::Bound;

use super::bounds::Room;
use super::entry::{Entry, Place, Work, discount};
use super::event::{Action, Event, Item, Moment, Record};
use super::shutdown::Phase;
use super::{State, Turn};
use crate::profile::DeliveryCause;

/// Payloads that may be on their way to disk at the same time.
pub const MOST_APPENDS: usize = 16;
/// Removals that may be under way at the same time.
pub const MOST_REMOVALS: usize = 64;

/// The spool's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Disk {
    /// There is none.
    None,
    /// Not open; to be opened at this moment.
    Closed { until: Moment },
    /// Being opened.
    Opening,
    /// Open, with room for so many bytes.
    Ready { room: u64 },
    /// It failed: nothing is asked of it until then.
    Failing { until: Moment, room: u64 },
}

impl Disk {
    /// When it is to be tried again.
    pub(super) fn retry_at(self) -> Option<Moment> {
        match self {
            Self::Closed { until } | Self::Failing { until, .. } => Some(until),
            Self::None | Self::Opening | Self::Ready { .. } => None,
        }
    }

    /// Bytes that payloads may take in it, where that is known.
    pub(super) const fn room(self) -> Option<u64> {
        match self {
            Self::Ready { room } | Self::Failing { room, .. } => Some(room),
            Self::None | Self::Closed { .. } | Self::Opening => None,
        }
    }
}

impl State {
    /// The entry with this number that is being appended.
    fn is_appending(&self, record: Record) -> bool {
        let appending = |entry: &Entry| entry.place == Place::Appending;
        self.find(record, appending).is_some()
    }
    fn is_loading(&self, record: Record) -> bool {
        self.find(record, |entry| entry.work == Work::Loading)
            .is_some()
    }
}

impl Turn<'_> {
    /// Tries a disk again that failed, when it is time.
    pub(super) fn recover_disk(&mut self) {
        if self
            .state
            .disk
            .retry_at()
            .is_some_and(|until| until <= self.now)
        {
            self.retry_disk();
        }
    }

    /// Tries a disk again that failed.
    pub(super) fn retry_disk(&mut self) {
        match self.state.disk {
            Disk::Closed { .. } => {
                self.state.disk = Disk::Opening;
                self.ask(Action::Open);
            }
            Disk::Failing { room, .. } => self.state.disk = Disk::Ready { room },
            Disk::None | Disk::Opening | Disk::Ready { .. } => {}
        }
    }

    fn disk_failed(&mut self) {
        let until = self.now.plus(self.config.disk_retry);
        self.state.disk = match self.state.disk {
            Disk::Ready { room } | Disk::Failing { room, .. } => Disk::Failing { until, room },
            Disk::Opening | Disk::Closed { .. } => Disk::Closed { until },
            Disk::None => Disk::None,
        };
    }

    /// Writes what is to be written now, oldest first: what is not being sent, and what is for too long.
    pub(super) fn append(&mut self) {
        let Disk::Ready { room } = self.state.disk else {
            return;
        };
        let storing = matches!(self.state.phase, Phase::Storing { .. });
        let mut from = Bound::Unbounded;
        while self.state.appending < MOST_APPENDS {
            let mut later = self.state.absent.range((from, Bound::Unbounded));
            let Some(record) = later.next().copied() else {
                return;
            };
            from = Bound::Excluded(record);
            let due = |entry: &Entry| {
                let in_time = self.now < entry.born.plus(self.config.write_after);
                storing || entry.is_waiting() || !in_time
            };
            if self.state.find(record, due).is_none() {
                continue;
            }
            match self.make_room(record, room) {
                Room::Yes => {
                    self.ask(Action::Append(record));
                    let place = Place::Appending;
                    self.state.change(record, |entry| entry.place = place);
                }
                Room::Later => return,
                Room::No => {}
            }
        }
    }

    /// Removes what has left.
    pub(super) fn remove(&mut self) {
        if !matches!(self.state.disk, Disk::Ready { .. }) {
            return;
        }
        while self.state.leaving.removing.len() < MOST_REMOVALS {
            let Some((record, stored)) = self.state.leaving.doomed.pop_first() else {
                return;
            };
            self.state.leaving.removing.insert(record, stored);
            self.ask(Action::Remove(record));
        }
    }

    /// Takes an answer of the disk.
    pub(super) fn answered(&mut self, event: Event) {
        match event {
            Event::Opened { room, items } => self.opened(room, &items),
            Event::OpenFailed => self.disk_failed(),
            Event::Appended(record) => self.appended(record),
            Event::AppendFailed(record) => self.append_failed(record),
            Event::Removed(record) => {
                if let Some(stored) = self.state.leaving.removing.remove(&record) {
                    self.left(stored);
                }
            }
            Event::RemoveFailed(record) => {
                if let Some(stored) = self.state.leaving.removing.remove(&record) {
                    self.state.leaving.doomed.insert(record, stored);
                    self.disk_failed();
                }
            }
            Event::Loaded(record) if self.state.is_loading(record) => {
                self.state
                    .change(record, |entry| entry.work = Work::Waiting);
            }
            Event::LoadFailed(record) if self.state.is_loading(record) => {
                self.state.change(record, |entry| {
                    entry.work = Work::Waiting;
                    entry.held = false;
                });
                self.disk_failed();
            }
            Event::Damaged(record) if self.state.is_loading(record) => {
                self.lose(record, DeliveryCause::SpoolDamaged);
            }
            Event::SetAside => self.set_aside(),
            _ => {}
        }
    }

    fn opened(&mut self, room: u64, items: &[(Item, std::time::Duration)]) {
        for (item, age) in items {
            let born = self.now.minus(*age);
            self.state.insert(*item, born, Place::Present);
        }
        self.state.disk = Disk::Ready { room };
        self.fit_disk(room);
    }

    fn appended(&mut self, record: Record) {
        let state = &mut *self.state;
        if let Some(stored) = state.leaving.orphans.remove(&record) {
            state.appending -= 1;
            state.leaving.doomed.insert(record, stored);
        } else if state.is_appending(record) {
            state.change(record, |entry| entry.place = Place::Present);
        }
    }

    fn append_failed(&mut self, record: Record) {
        let state = &mut *self.state;
        if let Some(stored) = state.leaving.orphans.remove(&record) {
            state.appending -= 1;
            self.left(stored);
        } else if state.is_appending(record) {
            let mut said = false;
            state.change(record, |entry| {
                entry.place = Place::Absent;
                said = std::mem::replace(&mut entry.unwritten, true);
            });
            if !said {
                self.ask(Action::Unwritten(record));
            }
        }
        self.disk_failed();
    }

    /// Something is no longer on disk.
    fn left(&mut self, stored: u64) {
        let state = &mut *self.state;
        state.leaving.bytes = state.leaving.bytes.saturating_sub(stored);
        discount(&mut state.used, stored);
    }

    /// All that was on disk is gone: what is in memory too is not lost.
    fn set_aside(&mut self) {
        for stored in std::mem::take(&mut self.state.leaving.doomed).into_values() {
            self.left(stored);
        }
        let stored: Vec<Entry> = self
            .state
            .entries
            .values()
            .filter(|entry| entry.place == Place::Present)
            .copied()
            .collect();
        for entry in stored {
            let record = entry.item.record;
            let kept = entry.held && entry.work != Work::Loading;
            // Absent first: there is nothing to remove from the new file.
            self.state
                .change(record, |entry| entry.place = Place::Absent);
            if !kept {
                self.lose(record, DeliveryCause::SpoolDamaged);
            }
        }
    }
}
