//! Queries over a source: which windows, their stacks, their merged profile. Blocking: runs off the
//! server's thread.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashSet;

use super::Limits;
use super::filter::Filter;
use super::query::{Grouping, Selection};
use super::run::Run;
use super::size::text_bytes;
use super::source::Source;
use super::stacks::{Side, StackSet, StackSetBuilder};
use super::trace::{TraceAnswer, TraceBuilder};
use crate::profile::{
    ArchiveError, ArchivedWindow, Merger, Profile, WindowId, WindowSummary, filter,
};

/// Why a query has no answer.
#[derive(Debug)]
pub(super) enum QueryError {
    /// The range holds more windows than one query may read.
    TooManyWindows {
        /// How many it holds.
        found: usize,
        /// How many may be.
        most: usize,
    },
    /// The answer would take more memory than one may.
    TooLarge {
        /// How much one may, in bytes.
        most: usize,
    },
    /// The one who asked is gone.
    Cancelled,
    /// The source failed.
    Source(ArchiveError),
}

impl From<ArchiveError> for QueryError {
    fn from(error: ArchiveError) -> Self {
        Self::Source(error)
    }
}

/// What is compared: what is looked at, and its base if there is one.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) shown: Selection,
    pub(super) base: Option<Selection>,
    pub(super) grouping: Grouping,
}

/// What identifies a set of stacks: windows never change once they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SetKey {
    windows: [Vec<WindowId>; 2],
    filters: [Option<Filter>; 2],
    grouping: Grouping,
}

/// Queries over a source; keeps the last sets of stacks, so that a zoom reads no profile anew.
pub(super) struct Engine {
    pub(super) source: Arc<dyn Source>,
    limits: Limits,
    sets: Mutex<Vec<Kept>>,
}

/// A set of stacks that is kept, and what is not in it.
struct Kept {
    key: SetKey,
    set: Arc<StackSet>,
    damaged: BTreeSet<WindowId>,
}

impl Engine {
    pub(super) fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
        Self {
            source,
            limits,
            sets: Mutex::default(),
        }
    }

    /// Visits the windows of a selection.
    pub(super) fn windows(
        &self,
        selection: &Selection,
        run: &Run,
        mut visit: impl FnMut(ArchivedWindow),
    ) -> Result<(), QueryError> {
        let damaged = self
            .source
            .windows(selection.from, selection.until, &mut |window| {
                if selection.window.is_none_or(|id| id == window.id) {
                    visit(window);
                }
            })?;
        run.leave_out(damaged);
        Ok(())
    }

    /// Visits the windows of a selection as if they had nothing but the samples that it wants.
    pub(super) fn narrowed_windows(
        &self,
        selection: &Selection,
        run: &Run,
        mut visit: impl FnMut(ArchivedWindow),
    ) -> Result<(), QueryError> {
        if selection.filter.is_by_process() {
            return self.windows(selection, run, visit);
        }
        let candidates: HashSet<WindowId> = self.ids(selection, run)?.into_iter().collect();
        let mut failed = None;
        self.windows(selection, run, |mut window| {
            let narrowed = match failed {
                Some(_) => return,
                None if candidates.contains(&window.id) => self.narrowed(window.id, selection, run),
                None => Ok(None),
            };
            match narrowed {
                Ok(Some(summary)) => window.summary = summary,
                Ok(None) => {
                    let WindowSummary {
                        samples,
                        processes,
                        rest_samples,
                        ..
                    } = &mut window.summary;
                    processes.clear();
                    (*samples, *rest_samples) = (0, 0);
                }
                Err(error) => {
                    failed = Some(error);
                    return;
                }
            }
            visit(window);
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn narrowed(
        &self,
        id: WindowId,
        selection: &Selection,
        run: &Run,
    ) -> Result<Option<WindowSummary>, QueryError> {
        let mut summary = None;
        self.profiles(&[id], run, |profile| {
            let part = wanted(&profile, &selection.filter);
            summary = Some(WindowSummary::of(&part));
        })?;
        Ok(summary)
    }

    /// The ids of the windows of a selection that may have samples that it wants, in order of time.
    fn ids(&self, selection: &Selection, run: &Run) -> Result<Vec<WindowId>, QueryError> {
        self.ids_of(selection, run, |window| {
            selection.filter.may_be_in(&window.summary)
        })
    }

    /// The ids of the windows of a selection for which `wanted` holds, in order of time; where a trace or span is
    /// selected, those that may have samples of it.
    fn ids_of(
        &self,
        selection: &Selection,
        run: &Run,
        wanted: impl Fn(&ArchivedWindow) -> bool,
    ) -> Result<Vec<WindowId>, QueryError> {
        let mut ids = Vec::new();
        let link = &selection.filter.link;
        if link.is_everything() {
            self.windows(selection, run, |window| {
                if wanted(&window) {
                    ids.push(window.id);
                }
            })?;
        } else {
            let (from, until) = (selection.from, selection.until);
            self.source.linked(link, from, until, &mut |id| {
                if selection.window.is_none_or(|wanted| wanted == id) {
                    ids.push(id);
                }
            })?;
        }
        if ids.len() > self.limits.windows {
            return Err(QueryError::TooManyWindows {
                found: ids.len(),
                most: self.limits.windows,
            });
        }
        Ok(ids)
    }

    fn profiles(
        &self,
        ids: &[WindowId],
        run: &Run,
        mut visit: impl FnMut(Arc<Profile>),
    ) -> Result<(), QueryError> {
        for id in ids {
            run.check()?;
            match self.source.profile(*id) {
                Ok(Some(profile)) => visit(profile),
                // A window that was removed meanwhile is as one that was removed before.
                Ok(None) => {}
                Err(_) => run.leave_out([*id]),
            }
        }
        Ok(())
    }

    /// The stacks of a question.
    pub(super) fn stacks(
        &self,
        question: &Question,
        run: &Run,
    ) -> Result<Arc<StackSet>, QueryError> {
        let base = question.base.as_ref();
        let base_ids = base.map(|base| self.ids(base, run)).transpose()?;
        let key = SetKey {
            windows: [
                self.ids(&question.shown, run)?,
                base_ids.unwrap_or_default(),
            ],
            filters: [
                Some(question.shown.filter.clone()),
                base.map(|base| base.filter.clone()),
            ],
            grouping: question.grouping,
        };
        if let Some((set, damaged)) = self.kept(&key) {
            run.leave_out(damaged);
            return Ok(set);
        }
        let mut builder = StackSetBuilder::new(question.grouping, self.limits.frames);
        let sides = [
            (Side::Shown, Some(&question.shown), &key.windows[0]),
            (Side::Base, base, &key.windows[1]),
        ];
        for (side, selection, ids) in sides {
            let Some(selection) = selection else { continue };
            self.profiles(ids, run, |profile| {
                builder.add(&profile, &selection.filter, side);
            })?;
        }
        let set = Arc::new(builder.finish());
        self.keep(key, &set, run);
        Ok(set)
    }

    fn kept(&self, key: &SetKey) -> Option<(Arc<StackSet>, BTreeSet<WindowId>)> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let index = sets.iter().position(|kept| kept.key == *key)?;
        let kept = sets.remove(index);
        let found = (Arc::clone(&kept.set), kept.damaged.clone());
        sets.push(kept);
        Some(found)
    }

    fn keep(&self, key: SetKey, set: &Arc<StackSet>, run: &Run) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.push(Kept {
            key,
            set: Arc::clone(set),
            damaged: run.damaged(),
        });
        let size = |sets: &[Kept]| -> usize { sets.iter().map(|kept| kept.set.steps()).sum() };
        while size(&sets) > self.limits.kept_frames {
            sets.remove(0);
        }
    }

    /// The profile of a selection: all of its windows merged, one after the other, only the samples it wants, without
    /// their times.
    pub(super) fn merged(&self, selection: &Selection, run: &Run) -> Result<Profile, QueryError> {
        let mut merger = Merger::without_times();
        // What was lost, and when, is said of all windows.
        let ids = self.ids_of(selection, run, |_| true)?;
        let most = self.limits.profile_bytes;
        for id in ids {
            self.profiles(&[id], run, |profile| {
                let wanted = selection.filter.over(&profile);
                merger.add(&profile, |sample| wanted.keeps(sample));
            })?;
            if merger.bytes() > most {
                return Err(QueryError::TooLarge { most });
            }
        }
        Ok(merger.finish())
    }

    /// The same, for a format that is made of lines of text.
    pub(super) fn merged_for_text(
        &self,
        selection: &Selection,
        run: &Run,
    ) -> Result<Profile, QueryError> {
        let profile = self.merged(selection, run)?;
        let most = self.limits.text_bytes;
        match text_bytes(&profile) > most {
            true => Err(QueryError::TooLarge { most }),
            false => Ok(profile),
        }
    }

    /// The trace or span of a selection.
    pub(super) fn trace(
        &self,
        selection: &Selection,
        run: &Run,
    ) -> Result<TraceAnswer, QueryError> {
        let mut builder = TraceBuilder::default();
        let ids = self.ids(selection, run)?;
        self.profiles(&ids, run, |profile| {
            builder.add(&profile, &selection.filter);
        })?;
        Ok(builder.finish())
    }
}

/// The part of a profile that is wanted.
fn wanted(profile: &Profile, wanted: &Filter) -> Profile {
    let wanted = wanted.over(profile);
    filter(profile, None, |sample| wanted.keeps(sample))
}
