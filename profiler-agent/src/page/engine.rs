//! Queries over a source: which windows, their stacks, their merged profile. Blocking: runs off the
//! server's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Limits;
use super::filter::Filter;
use super::grouping::Grouping;
use super::kept::{Kept, KeptSets, SetKey};
use super::lines::LineCounts;
use super::query::Selection;
use super::run::Run;
use super::size::text_bytes;
use super::source::Source;
use super::stack_builder::{Room, StackSetBuilder};
use super::stacks::{Side, StackSet};
use super::trace::{TraceAnswer, TraceBuilder};
use super::view::View;
use crate::profile::cover::{Part, Visited, cover};
use crate::profile::{ArchiveError, ArchivedWindow, Merger, Profile, WindowId};

/// Why a query has no answer.
#[derive(Debug)]
pub(super) enum QueryError {
    /// The range holds more windows and merged spans than one query may read.
    TooManyWindows {
        /// How many windows and spans it holds.
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
    /// The agent has no memory for it.
    MemoryShort,
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
    pub(super) view: View,
}

/// What a selection is answered from.
#[derive(Debug, Default)]
struct Plan {
    /// The windows that may have samples that are wanted, by time.
    windows: Vec<WindowId>,
    /// What is read for them.
    parts: Vec<Part>,
}

/// Queries over a source; keeps the last sets of stacks, so that a zoom reads no profile anew.
pub(super) struct Engine {
    pub(super) source: Arc<dyn Source>,
    pub(super) limits: Limits,
    pub(super) kept: KeptSets,
}

impl Engine {
    pub(super) fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
        Self {
            source,
            limits,
            kept: KeptSets::new(&limits),
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
                let is_wanted = selection.kind.includes(window.summary.kind.kind)
                    && selection.window.is_none_or(|id| id == window.id);
                if is_wanted {
                    visit(window);
                }
            })?;
        run.leave_out(damaged);
        Ok(())
    }

    /// The ids of the windows of a selection that may have samples that it wants, in order of time.
    pub(super) fn ids(
        &self,
        selection: &Selection,
        run: &Run,
    ) -> Result<Vec<WindowId>, QueryError> {
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
        self.visit_ids(selection, run, wanted, |id| ids.push(id))?;
        self.bound(ids.len())?;
        Ok(ids)
    }

    /// Visits the same, however many they are.
    fn visit_ids(
        &self,
        selection: &Selection,
        run: &Run,
        wanted: impl Fn(&ArchivedWindow) -> bool,
        mut visit: impl FnMut(WindowId),
    ) -> Result<(), QueryError> {
        let link = &selection.filter.link;
        if link.is_everything() {
            return self.windows(selection, run, |window| {
                if wanted(&window) {
                    visit(window.id);
                }
            });
        }
        let (from, until) = (selection.from, selection.until);
        self.source.linked(link, from, until, &mut |id| {
            if selection.window.is_none_or(|wanted| wanted == id) {
                visit(id);
            }
        })?;
        Ok(())
    }

    pub(super) fn bound(&self, found: usize) -> Result<(), QueryError> {
        let most = self.limits.windows;
        match found > most {
            true => Err(QueryError::TooManyWindows { found, most }),
            false => Ok(()),
        }
    }

    /// The windows of a selection that may have samples that it wants, in order of time, and what is to be read for
    /// their frames.
    fn plan(&self, selection: &Selection, run: &Run) -> Result<Plan, QueryError> {
        if selection.filter.needs_windows() {
            let windows = self.ids(selection, run)?;
            let parts = windows.iter().copied().map(Part::Window).collect();
            return Ok(Plan { windows, parts });
        }
        let mut visited = Vec::new();
        self.windows(selection, run, |window| {
            visited.push(Visited {
                id: window.id,
                bytes: window.bytes,
                wanted: selection.filter.may_be_in(&window.summary),
            });
        })?;
        let spans = self.source.merged_spans(selection.from, selection.until)?;
        let parts = cover(&visited, spans);
        self.bound(parts.len())?;
        let wanted = visited.iter().filter(|window| window.wanted);
        Ok(Plan {
            windows: wanted.map(|window| window.id).collect(),
            parts,
        })
    }

    /// Visits the profiles of parts. A merged span that cannot be read, or stands for other windows by now, is read as its
    /// windows.
    fn frames(
        &self,
        parts: &[Part],
        filter: &Filter,
        run: &Run,
        mut visit: impl FnMut(Arc<Profile>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        for part in parts {
            match part {
                Part::Window(id) => self.profiles(&[*id], filter, run, &mut visit)?,
                Part::Merged { span, windows } => {
                    run.check()?;
                    match self.source.merged_profile(span) {
                        Ok(Some(profile)) => visit(profile)?,
                        Ok(None) | Err(_) => self.profiles(windows, filter, run, &mut visit)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Visits the profiles of windows: of each the part that was taken when `filter` says.
    pub(super) fn profiles(
        &self,
        ids: &[WindowId],
        filter: &Filter,
        run: &Run,
        mut visit: impl FnMut(Arc<Profile>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        for id in ids {
            run.check()?;
            match self.source.profile(*id) {
                Ok(Some(profile)) => visit(filter.part_of(profile))?,
                // A window that was removed meanwhile is as one that was removed before.
                Ok(None) => {}
                Err(_) => run.leave_out([*id]),
            }
        }
        Ok(())
    }

    /// The stacks of a question, as its view shows them.
    pub(super) fn viewed(
        &self,
        question: &Question,
        run: &Run,
    ) -> Result<Arc<StackSet>, QueryError> {
        let set = self.stacks(question, run)?;
        Ok(match question.view.is_plain() {
            true => set,
            false => Arc::new(question.view.of(&set, run)?),
        })
    }

    /// The stacks of a question as they are.
    pub(super) fn stacks(
        &self,
        question: &Question,
        run: &Run,
    ) -> Result<Arc<StackSet>, QueryError> {
        let base = question.base.as_ref();
        let base_plan = base.map(|base| self.plan(base, run)).transpose()?;
        let plans = [
            self.plan(&question.shown, run)?,
            base_plan.unwrap_or_default(),
        ];
        let [shown, base_parts] = plans.each_ref().map(|plan| &plan.parts);
        let key = SetKey {
            kind: question.shown.kind,
            windows: plans.each_ref().map(|plan| plan.windows.clone()),
            filters: [
                Some(question.shown.filter.clone()),
                base.map(|base| base.filter.clone()),
            ],
            grouping: question.grouping.clone(),
        };
        if let Some(Kept { set, damaged, .. }) = self.kept.find(&key) {
            run.leave_out(damaged);
            return Ok(set);
        }
        let kind = question.shown.kind;
        let room = Room {
            steps: self.limits.frames,
            name_bytes: self.limits.name_bytes,
        };
        let mut builder = StackSetBuilder::new(kind, question.grouping.clone(), room);
        let sides = [
            (Side::Shown, Some(&question.shown), shown),
            (Side::Base, base, base_parts),
        ];
        for (side, selection, parts) in sides {
            let Some(selection) = selection else { continue };
            self.frames(parts, &selection.filter, run, |profile| {
                builder.add(&profile, &selection.filter, side, run)
            })?;
        }
        // What comes now is not asked whether it goes on: the stacks are put in order.
        run.check()?;
        let set = Arc::new(builder.finish());
        if !run.is_short() {
            let (set, damaged) = (Arc::clone(&set), run.damaged());
            self.kept.add(Kept { key, set, damaged });
        }
        Ok(set)
    }

    /// The profile of a selection: all of its windows merged, one after the other, only the samples it wants, without
    /// their times.
    pub(super) fn merged(&self, selection: &Selection, run: &Run) -> Result<Profile, QueryError> {
        let mut merger = Merger::without_times();
        // What was lost, and when, is said of all windows.
        let ids = self.ids_of(selection, run, |_| true)?;
        let most = self.limits.profile_bytes;
        for id in ids {
            self.profiles(&[id], &selection.filter, run, |profile| {
                if selection.kind.includes(profile.kind.kind) {
                    let wanted = selection.filter.over(&profile);
                    merger.add(&profile, |sample| wanted.keeps(sample));
                }
                Ok(())
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

    /// The source lines of a selection's newest windows, at most so many, however many there are.
    pub(super) fn lines(
        &self,
        selection: &Selection,
        windows: usize,
        run: &Run,
    ) -> Result<LineCounts, QueryError> {
        let most = windows.min(self.limits.windows).max(1);
        let mut newest = VecDeque::with_capacity(most);
        let wanted = |window: &ArchivedWindow| selection.filter.may_be_in(&window.summary);
        self.visit_ids(selection, run, wanted, |id| {
            if newest.len() == most {
                newest.pop_front();
            }
            newest.push_back(id);
        })?;
        let mut counts = LineCounts::new(selection.kind, self.limits.name_bytes);
        self.profiles(
            newest.make_contiguous(),
            &selection.filter,
            run,
            |profile| counts.add(&profile, &selection.filter, run),
        )?;
        Ok(counts)
    }

    /// The trace or span of a selection.
    pub(super) fn trace(
        &self,
        selection: &Selection,
        run: &Run,
    ) -> Result<TraceAnswer, QueryError> {
        let mut builder = TraceBuilder::default();
        let ids = self.ids(selection, run)?;
        self.profiles(&ids, &selection.filter, run, |profile| {
            if selection.kind.includes(profile.kind.kind) {
                builder.add(&profile, &selection.filter);
            }
            Ok(())
        })?;
        Ok(builder.finish())
    }
}
