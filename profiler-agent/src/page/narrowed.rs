//! Windows as if they had nothing but some of their samples, for time lines: read one by one, or merged where all of a
//! span's windows lie at one point of the time line.

use hashbrown::{HashMap, HashSet};

use super::engine::{Engine, QueryError};
use super::filter::Filter;
use super::query::Selection;
use super::run::Run;
use super::services::TimeLine;
use crate::profile::cover::{Part, Visited, cover};
use crate::profile::{ArchivedWindow, MergedSpan, Profile, WindowId, WindowSummary, filter};

/// The wanted samples of windows that were read merged.
#[derive(Debug)]
pub(super) struct NarrowedSpan {
    /// The point of the time line that all of them lie at.
    pub(super) point: usize,
    /// What of them is wanted, in ns: the windows may be of different rates.
    pub(super) summary: WindowSummary,
}

/// What is known of the windows before any is read.
#[derive(Default)]
struct Overview {
    visited: Vec<Visited>,
    /// The point of each window that lies at one.
    points: HashMap<WindowId, usize>,
}

/// What was read merged.
#[derive(Default)]
struct Merged {
    windows: HashSet<WindowId>,
    spans: Vec<NarrowedSpan>,
}

impl Engine {
    /// Visits the windows of a selection as if they had nothing but the samples that it wants. The samples of those that
    /// were read merged are returned: they are visited without any.
    pub(super) fn narrowed_windows(
        &self,
        selection: &Selection,
        line: &TimeLine,
        run: &Run,
        mut visit: impl FnMut(ArchivedWindow),
    ) -> Result<Vec<NarrowedSpan>, QueryError> {
        if selection.filter.is_by_process() {
            self.windows(selection, run, visit)?;
            return Ok(Vec::new());
        }
        let (candidates, merged) = if selection.filter.needs_windows() {
            let candidates = self.ids(selection, run)?.into_iter().collect();
            (candidates, Merged::default())
        } else {
            self.merged_at_points(selection, line, run)?
        };
        let mut failed = None;
        self.windows(selection, run, |mut window| {
            if failed.is_some() {
                return;
            }
            if let Some(taken) = selection.filter.taken {
                window.start = window.start.max(taken.from).min(window.end);
                window.end = window.end.min(taken.until).max(window.start);
            }
            // How stacks ended, and what was lost, is said of whole windows.
            if merged.windows.contains(&window.id) {
                empty(&mut window.summary);
            } else if candidates.contains(&window.id) {
                match self.narrowed(window.id, selection, run) {
                    Ok(Some(summary)) => {
                        window.summary = WindowSummary {
                            outcomes: std::mem::take(&mut window.summary.outcomes),
                            losses: std::mem::take(&mut window.summary.losses),
                            ..summary
                        };
                    }
                    Ok(None) => empty(&mut window.summary),
                    Err(error) => {
                        failed = Some(error);
                        return;
                    }
                }
            } else {
                empty(&mut window.summary);
            }
            visit(window);
        })?;
        failed.map_or(Ok(merged.spans), Err)
    }

    /// The windows that may have samples that are wanted and are to be read one by one, and what is read merged.
    fn merged_at_points(
        &self,
        selection: &Selection,
        line: &TimeLine,
        run: &Run,
    ) -> Result<(HashSet<WindowId>, Merged), QueryError> {
        let mut seen = Overview::default();
        self.windows(selection, run, |window| {
            seen.visited.push(Visited {
                id: window.id,
                bytes: window.bytes,
                wanted: selection.filter.may_be_in(&window.summary),
            });
            if let Some(point) = line.point(&window) {
                seen.points.insert(window.id, point);
            }
        })?;
        let mut spans = self.source.merged_spans(selection.from, selection.until)?;
        spans.retain(|span| seen.point(span).is_some());
        let parts = cover(&seen.visited, spans);
        self.bound(parts.len())?;
        let mut candidates = HashSet::new();
        let mut merged = Merged::default();
        for part in parts {
            run.check()?;
            match part {
                Part::Window(id) => {
                    candidates.insert(id);
                }
                Part::Merged { span, windows } => {
                    match self.narrowed_span(&span, &selection.filter) {
                        Some(summary) => {
                            merged.spans.extend(
                                seen.point(&span)
                                    .map(|point| NarrowedSpan { point, summary }),
                            );
                            merged.windows.extend(windows);
                        }
                        None => candidates.extend(windows),
                    }
                }
            }
        }
        Ok((candidates, merged))
    }

    /// What is wanted of a span; `None` where it cannot be read, or has more processes than are told apart.
    fn narrowed_span(&self, span: &MergedSpan, filter: &Filter) -> Option<WindowSummary> {
        let profile = self.source.merged_profile(span).ok().flatten()?;
        let wanted = filter.over(&profile);
        // No part of the profile is made of it: that would take processes for one whose name changed.
        let summary = WindowSummary::of_samples(&profile, 1, |sample| wanted.keeps(sample));
        (summary.rest_processes == 0).then_some(summary)
    }

    fn narrowed(
        &self,
        id: WindowId,
        selection: &Selection,
        run: &Run,
    ) -> Result<Option<WindowSummary>, QueryError> {
        let mut summary = None;
        self.profiles(&[id], &selection.filter, run, |profile| {
            let part = wanted(&profile, &selection.filter);
            summary = Some(WindowSummary::of(&part));
            Ok(())
        })?;
        Ok(summary)
    }
}

impl Overview {
    /// The point that all windows of a span lie at.
    fn point(&self, span: &MergedSpan) -> Option<usize> {
        let mut points = span.windows.iter().map(|id| self.points.get(id).copied());
        let first = points.next()??;
        points.all(|point| point == Some(first)).then_some(first)
    }
}

/// Leaves no samples.
fn empty(summary: &mut WindowSummary) {
    summary.processes.clear();
    (summary.samples, summary.rest_samples) = (0, 0);
}

/// The part of a profile that is wanted.
fn wanted(profile: &Profile, wanted: &Filter) -> Profile {
    let wanted = wanted.over(profile);
    filter(profile, None, |sample| wanted.keeps(sample))
}
