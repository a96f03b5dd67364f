//! Bounds of age, memory and disk.

use super::entry::Place;
use super::event::Record;
use super::{State, Turn};
use crate::profile::DeliveryCause;

/// Whether there is room on disk.
pub(super) enum Room {
    /// There is.
    Yes,
    /// There will be, when what is being done is done.
    Later,
    /// Not for this one.
    No,
}

impl State {
    /// Bytes on disk when everything that is leaving has left.
    fn staying(&self) -> u64 {
        self.used.bytes.saturating_sub(self.leaving.bytes)
    }
    /// The oldest payload on disk that nothing is done with.
    fn oldest_stored(&self) -> Option<Record> {
        let is_idle = |entry: &&super::Entry| entry.is_waiting() && entry.place == Place::Present;
        let oldest = self.entries.values().find(is_idle);
        oldest.map(|entry| entry.item.record)
    }
}

impl Turn<'_> {
    /// Drops what is too old, but what is being sent. Payloads come in the order of their age: the first one that
    /// is young enough ends the search.
    pub(super) fn expire(&mut self) {
        loop {
            let oldest = self.state.entries.values().find(|entry| entry.is_waiting());
            match oldest {
                Some(oldest) if oldest.born.plus(self.config.age) <= self.now => {
                    self.lose(oldest.item.record, DeliveryCause::SpoolExpired);
                }
                _ => return,
            }
        }
    }

    /// Keeps memory within its bound: what is on disk leaves it, the last first; then the oldest payload that is
    /// nowhere else is dropped. What is being sent or written stays.
    pub(super) fn fit_memory(&mut self) {
        while self.state.held.bytes > self.config.memory && self.state.held.payloads > 1 {
            if let Some(last) = self.state.spare.last().copied() {
                self.forget(last);
                continue;
            }
            let mut absent = self.state.absent.iter().copied();
            let is_waiting = |record: &Record| self.state.entries[record].is_waiting();
            let Some(oldest) = absent.find(is_waiting) else {
                return;
            };
            self.lose(oldest, DeliveryCause::QueueFull);
        }
    }

    /// Keeps the disk within its bound, dropping the oldest first.
    pub(super) fn fit_disk(&mut self, room: u64) {
        while self.state.staying() > room {
            let Some(oldest) = self.state.oldest_stored() else {
                return;
            };
            self.lose(oldest, DeliveryCause::SpoolFull);
        }
    }

    /// Makes room on disk for a payload of memory by dropping older ones; where it is the oldest itself, it is
    /// dropped.
    pub(super) fn make_room(&mut self, record: Record, room: u64) -> Room {
        let Some(entry) = self.state.find(record, |_| true) else {
            return Room::No;
        };
        let stored = entry.item.stored;
        while self.state.staying().saturating_add(stored) > room {
            match self.state.oldest_stored() {
                Some(oldest) if oldest < record => self.lose(oldest, DeliveryCause::SpoolFull),
                None if stored <= room => return Room::Later,
                _ if entry.is_waiting() => {
                    self.lose(record, DeliveryCause::SpoolFull);
                    return Room::No;
                }
                _ => return Room::No,
            }
        }
        if self.state.used.bytes.saturating_add(stored) <= room {
            Room::Yes
        } else {
            Room::Later
        }
    }
}
