//! Queries over a source: which windows, their trees, their merged profile. Blocking: runs off the
//! server's thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::query::{Grouping, Selection};
use super::source::Source;
use super::tree::{Side, Tree, TreeBuilder};
use super::{Codec, Limits};
use crate::profile::{ArchiveError, ArchivedWindow, Profile, WindowId};

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

/// What identifies a tree: windows never change once they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TreeKey {
    windows: [Vec<WindowId>; 2],
    filters: [Option<super::query::Filter>; 2],
    grouping: Grouping,
}

/// Queries over a source; keeps the last trees, so that zooming into one does not build it anew.
pub(super) struct Engine {
    pub(super) source: Arc<dyn Source>,
    pub(super) codec: Codec,
    limits: Limits,
    trees: Mutex<Vec<(TreeKey, Arc<Tree>)>>,
}

/// Profiles that are merged at a time: bounds what is in memory at once.
const MERGED_AT_ONCE: usize = 16;

impl Engine {
    pub(super) fn new(source: Arc<dyn Source>, codec: Codec, limits: Limits) -> Self {
        Self {
            source,
            codec,
            limits,
            trees: Mutex::default(),
        }
    }

    /// Visits the windows of a selection.
    pub(super) fn windows(
        &self,
        selection: &Selection,
        mut visit: impl FnMut(ArchivedWindow),
    ) -> Result<(), QueryError> {
        self.source
            .windows(selection.from, selection.until, &mut |window| {
                if selection.window.is_none_or(|id| id == window.id) {
                    visit(window);
                }
            })?;
        Ok(())
    }

    /// The ids of the windows of a selection, in order of time.
    fn ids(&self, selection: &Selection) -> Result<Vec<WindowId>, QueryError> {
        let mut ids = Vec::new();
        self.windows(selection, |window| ids.push(window.id))?;
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
        cancelled: &AtomicBool,
        mut visit: impl FnMut(Arc<Profile>),
    ) -> Result<(), QueryError> {
        for id in ids {
            if cancelled.load(Ordering::Relaxed) {
                return Err(QueryError::Cancelled);
            }
            // A window that was removed meanwhile is as one that was removed before.
            if let Some(profile) = self.source.profile(*id)? {
                visit(profile);
            }
        }
        Ok(())
    }

    /// The tree of a question.
    pub(super) fn tree(
        &self,
        question: &Question,
        cancelled: &AtomicBool,
    ) -> Result<Arc<Tree>, QueryError> {
        let base = question.base.as_ref();
        let base_ids = base.map(|base| self.ids(base)).transpose()?;
        let key = TreeKey {
            windows: [self.ids(&question.shown)?, base_ids.unwrap_or_default()],
            filters: [
                Some(question.shown.filter.clone()),
                base.map(|base| base.filter.clone()),
            ],
            grouping: question.grouping,
        };
        if let Some(tree) = self.kept(&key) {
            return Ok(tree);
        }
        let mut builder = TreeBuilder::new(question.grouping, self.limits.nodes);
        let sides = [
            (Side::Shown, Some(&question.shown), &key.windows[0]),
            (Side::Base, base, &key.windows[1]),
        ];
        for (side, selection, ids) in sides {
            let Some(selection) = selection else { continue };
            self.profiles(ids, cancelled, |profile| {
                builder.add(&profile, &selection.filter, side);
            })?;
        }
        let tree = Arc::new(builder.finish());
        self.keep(key, &tree);
        Ok(tree)
    }

    fn kept(&self, key: &TreeKey) -> Option<Arc<Tree>> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let index = trees.iter().position(|(found, _)| found == key)?;
        let entry = trees.remove(index);
        let tree = Arc::clone(&entry.1);
        trees.push(entry);
        Some(tree)
    }

    fn keep(&self, key: TreeKey, tree: &Arc<Tree>) {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.push((key, Arc::clone(tree)));
        let size = |trees: &[(TreeKey, Arc<Tree>)]| -> usize {
            trees.iter().map(|(_, tree)| tree.nodes.len()).sum()
        };
        while size(&trees) > self.limits.kept_nodes {
            trees.remove(0);
        }
    }

    /// The profile of a selection: all of its windows merged, only the processes it wants.
    pub(super) fn merged(
        &self,
        selection: &Selection,
        cancelled: &AtomicBool,
    ) -> Result<Profile, QueryError> {
        let mut waiting: Vec<Profile> = Vec::new();
        let ids = self.ids(selection)?;
        self.profiles(&ids, cancelled, |profile| {
            let keep = &selection.filter;
            waiting.push((self.codec.filter)(&profile, &|process| {
                keep.keeps(process)
            }));
            if waiting.len() >= MERGED_AT_ONCE {
                let merged = (self.codec.merge)(&waiting);
                waiting = vec![merged];
            }
        })?;
        Ok((self.codec.merge)(&waiting))
    }
}
