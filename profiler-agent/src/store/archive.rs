//! What is asked of the store.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use redb::Database;

use super::{Store, StoreError, links, merging, spans, summary, transaction};
use crate::bounded_file::{OpenFile, guarded};
use crate::profile::{
    ArchiveError, ArchivedWindow, LinkFilter, MergedSpan, Profile, ProfileKind, UnixTime,
    WindowArchive, WindowId,
};

impl Store {
    /// What `read` says; `None` while the file is waiting to be opened anew.
    pub(super) fn reading<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, StoreError> {
        let Some(database) = self.open_now() else {
            return Ok(None);
        };
        match guarded(|| read(&database)) {
            Ok(read) => Ok(Some(read)),
            Err(source) => {
                self.distrust(&database, &source);
                Err(self.failed(source))
            }
        }
    }

    /// Closes a database whose tables are damaged, if it is still the one in use.
    fn distrust(&self, database: &Arc<OpenFile>, failure: &redb::Error) {
        let is_in_use = self
            .open_now()
            .is_some_and(|open| Arc::ptr_eq(&open, database));
        if is_in_use && matches!(failure, redb::Error::Corrupted(_)) {
            self.close(failure);
        }
    }

    /// Has `visits` call what it is given, whose panics are not the database's.
    fn visiting(
        &self,
        visits: impl FnOnce(&Database, &mut dyn FnMut(&mut dyn FnMut())) -> Result<(), redb::Error>,
    ) -> Result<(), ArchiveError> {
        let mut panic = None;
        self.reading(|database| {
            visits(database, &mut |visit| {
                if panic.is_none() {
                    panic = catch_unwind(AssertUnwindSafe(visit)).err();
                }
            })
        })?;
        match panic {
            Some(panic) => resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl WindowArchive for Store {
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        let extent = self.reading(transaction::extent)?;
        Ok(extent
            .flatten()
            .map(|(start, end)| (UnixTime(start), UnixTime(end))))
    }

    fn kinds(&self) -> Vec<ProfileKind> {
        self.kinds_now()
    }

    fn visit(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        let longest = self.lock_books().totals.longest;
        let mut damaged = Vec::new();
        self.visiting(|database, guard| {
            transaction::visit(database, longest, from.0..until.0, |id, found| {
                let found = found.map_err(|error| error.to_string());
                let window = found.and_then(|(entry, encoded)| {
                    let summary = summary::decode(encoded).ok_or("its summary is damaged")?;
                    Ok(ArchivedWindow {
                        id: WindowId(id),
                        start: UnixTime(entry.start),
                        end: UnixTime(entry.end),
                        bytes: entry.bytes,
                        summary,
                    })
                });
                match window {
                    Ok(window) => {
                        let mut window = Some(window);
                        guard(&mut || window.take().into_iter().for_each(&mut *visit));
                    }
                    Err(reason) => {
                        self.damage.note(WindowId(id), &reason);
                        damaged.push(WindowId(id));
                    }
                }
            })
        })?;
        Ok(damaged)
    }

    fn linked(
        &self,
        wanted: &LinkFilter,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(WindowId),
    ) -> Result<(), ArchiveError> {
        let longest = self.lock_books().totals.longest;
        self.visiting(|database, guard| {
            transaction::visit_links(database, longest, from.0..until.0, |id, bytes| {
                // What cannot be read may hold anything.
                if bytes.is_none_or(|bytes| links::may_hold(bytes, wanted)) {
                    guard(&mut || visit(WindowId(id)));
                }
            })
        })
    }

    fn read(&self, id: WindowId) -> Result<Option<Vec<u8>>, ArchiveError> {
        let Some(database) = self.open_now() else {
            return Ok(None);
        };
        // Whatever is wrong with one window says nothing about the others.
        guarded(|| transaction::read(&database, id.0)).map_err(|source| self.failed(source).into())
    }

    fn merged_spans(
        &self,
        from: UnixTime,
        until: UnixTime,
    ) -> Result<Vec<MergedSpan>, ArchiveError> {
        let longest = self.lock_books().totals.longest;
        let found =
            self.reading(|database| spans::overlapping(database, longest, &(from.0..until.0)))?;
        let found = found.unwrap_or_default().into_iter();
        Ok(found.map(merging::named).collect())
    }

    fn read_merged(&self, span: &MergedSpan) -> Result<Option<Profile>, ArchiveError> {
        self.span_profile(span)
    }

    fn note_damage(&self, id: WindowId, reason: &ArchiveError) {
        self.damage.note(id, reason);
    }
}
