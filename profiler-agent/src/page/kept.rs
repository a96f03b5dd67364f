//! The sets of stacks of the last queries, so that a zoom reads no profile anew.
//!
//! They are few ([`MAX_KEPT`]), have so many frames and so many bytes of names together, and go when memory is short. Those
//! that were not asked for longest go first.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use super::filter::Filter;
use super::grouping::Grouping;
use super::stacks::StackSet;
use crate::profile::{ProfileKind, WindowId};

/// Sets that are kept, however small they are.
const MAX_KEPT: usize = 16;

/// What identifies a set of stacks: windows never change once they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetKey {
    pub(super) kind: ProfileKind,
    pub(super) windows: [Vec<WindowId>; 2],
    pub(super) filters: [Option<Filter>; 2],
    pub(super) grouping: Grouping,
}

/// A set of stacks that is kept, and what is not in it.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) key: SetKey,
    pub(super) set: Arc<StackSet>,
    pub(super) damaged: BTreeSet<WindowId>,
}

impl Kept {
    /// Frames that it has room for: an id takes as much as two.
    fn steps(&self) -> usize {
        let ids = self.key.windows.iter().map(Vec::len).sum::<usize>() + self.damaged.len();
        self.set.steps() + 2 * ids
    }
}

/// The sets, the one that was asked for last at the end.
#[derive(Debug)]
pub(super) struct KeptSets {
    sets: Mutex<Vec<Kept>>,
    max_steps: usize,
    max_name_bytes: usize,
}

impl KeptSets {
    /// None yet.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            sets: Mutex::default(),
            max_steps: limits.kept_frames,
            max_name_bytes: limits.kept_name_bytes,
        }
    }

    /// The set with this key.
    pub(super) fn find(&self, key: &SetKey) -> Option<Kept> {
        let mut sets = self.lock();
        let index = sets.iter().position(|kept| kept.key == *key)?;
        let found = sets.remove(index);
        sets.push(found.clone());
        Some(found)
    }

    /// Keeps a set, and drops others until all have room.
    pub(super) fn add(&self, new: Kept) {
        let mut sets = self.lock();
        // Two queries may have asked for the same at a time.
        sets.retain(|kept| kept.key != new.key);
        sets.push(new);
        let steps = |sets: &[Kept]| sets.iter().map(Kept::steps).sum::<usize>();
        let names = |sets: &[Kept]| sets.iter().map(|kept| kept.set.name_bytes()).sum::<usize>();
        while sets.len() > MAX_KEPT
            || steps(&sets) > self.max_steps
            || names(&sets) > self.max_name_bytes
        {
            sets.remove(0);
        }
    }

    /// Is there none?
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Drops all.
    pub(super) fn clear(&self) {
        *self.lock() = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets for unit tests.
#[cfg(test)]
pub(super) mod scripted {
    use super::*;
    use crate::page::run::scripted::endless;
    use crate::page::stack_builder::{Room, StackSetBuilder};
    use crate::page::stacks::Side;
    use crate::profile::example::example;

    pub(in crate::page) fn key(pid: u32) -> SetKey {
        let filter = Filter {
            pid: Some(pid),
            ..Filter::default()
        };
        SetKey {
            kind: ProfileKind::OnCpu,
            windows: [vec![WindowId(1)], Vec::new()],
            filters: [Some(filter), None],
            grouping: Grouping::None,
        }
    }

    /// The set of a process; without any stack, or with those of [`example`].
    pub(in crate::page) fn kept(pid: u32, has_stacks: bool) -> Kept {
        let room = Room {
            steps: usize::MAX,
            name_bytes: usize::MAX,
        };
        let mut builder = StackSetBuilder::new(ProfileKind::OnCpu, Grouping::None, room);
        if has_stacks {
            let added = builder.add(&example(), &Filter::default(), Side::Shown, &endless());
            added.unwrap();
        }
        Kept {
            key: key(pid),
            set: Arc::new(builder.finish()),
            damaged: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scripted::{kept, key};
    use super::*;

    #[test]
    fn sets_without_a_stack_are_few_all_the_same() {
        let sets = KeptSets::new(&Limits::VIEWER);
        for pid in 0..MAX_KEPT as u32 {
            sets.add(kept(pid, false));
        }
        assert!(sets.find(&key(0)).is_some(), "it is asked for again");
        sets.add(kept(99, false));
        assert!(sets.find(&key(1)).is_none());
        for pid in (2..MAX_KEPT as u32).chain([0, 99]) {
            assert!(sets.find(&key(pid)).is_some(), "{pid}");
        }
        sets.add(kept(99, true));
        assert_eq!(sets.lock().len(), MAX_KEPT, "none is there twice");
        sets.clear();
        assert!(sets.is_empty() && sets.find(&key(0)).is_none());
    }

    #[test]
    fn frames_and_names_of_all_have_their_room() {
        let one = kept(0, true);
        let (steps, name_bytes) = (one.steps(), one.set.name_bytes());
        assert!(one.set.steps() > 0 && name_bytes > 100);
        let twice = Limits {
            kept_frames: 2 * steps,
            kept_name_bytes: 2 * name_bytes,
            ..Limits::VIEWER
        };
        for (limits, left) in [
            (twice, 2),
            (
                Limits {
                    kept_frames: 2 * steps - 1,
                    ..twice
                },
                1,
            ),
            (
                Limits {
                    kept_name_bytes: 2 * name_bytes - 1,
                    ..twice
                },
                1,
            ),
        ] {
            let sets = KeptSets::new(&limits);
            sets.add(kept(0, true));
            sets.add(kept(1, true));
            assert_eq!(sets.lock().len(), left);
            assert!(sets.find(&key(1)).is_some(), "the last one is kept");
        }
    }
}
