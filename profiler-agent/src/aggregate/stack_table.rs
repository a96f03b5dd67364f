//! Distinct stacks of a window, found by the keys of their locations.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::profile::{LocatedFrame, LocationIndex, LocationKey, StackIndex, Stacks};

/// Locations and stacks of locations, each once.
///
/// A stack is hashed and compared by its location keys, not by their indices: a stack that is known
/// is found without looking up any of its locations.
#[derive(Default)]
pub(super) struct StackTable {
    hasher: DefaultHashBuilder,
    location_indices: HashMap<LocationKey, LocationIndex>,
    locations: Vec<LocationKey>,
    stack_indices: HashTable<(u64, StackIndex)>,
    stacks: Stacks,
    frames: usize,
}

impl StackTable {
    fn hash(&self, frames: &[LocatedFrame]) -> u64 {
        let mut state = self.hasher.build_hasher();
        for frame in frames {
            frame.key.hash(&mut state);
        }
        state.write_usize(frames.len());
        state.finish()
    }

    /// The stack with exactly these locations, and the hash to [`Self::insert`] it under otherwise.
    pub(super) fn find(&self, frames: &[LocatedFrame]) -> Result<StackIndex, u64> {
        let hash = self.hash(frames);
        self.stack_indices
            .find(hash, |(candidate_hash, candidate)| {
                *candidate_hash == hash && self.equals(*candidate, frames)
            })
            .map(|(_, index)| *index)
            .ok_or(hash)
    }

    fn equals(&self, candidate: StackIndex, frames: &[LocatedFrame]) -> bool {
        let stack = self.stacks.get(candidate);
        stack.len() == frames.len()
            && stack
                .iter()
                .zip(frames)
                .all(|(index, frame)| self.locations[index.0 as usize] == frame.key)
    }

    /// Number of locations that `frames` would add, at most.
    pub(super) fn unknown_locations(&self, frames: &[LocatedFrame]) -> usize {
        frames
            .iter()
            .filter(|frame| !self.location_indices.contains_key(&frame.key))
            .count()
    }

    /// Adds a stack that [`Self::find`] did not find; calls `is_new` with each frame whose location
    /// was not known.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        frames: &[LocatedFrame],
        scratch: &mut Vec<LocationIndex>,
        mut is_new: impl FnMut(&LocatedFrame),
    ) -> StackIndex {
        scratch.clear();
        for frame in frames {
            let next = LocationIndex(self.locations.len() as u32);
            let index = *self.location_indices.entry(frame.key).or_insert(next);
            if index == next {
                self.locations.push(frame.key);
                is_new(frame);
            }
            scratch.push(index);
        }
        let index = self.stacks.push(scratch);
        self.frames += frames.len();
        self.stack_indices
            .insert_unique(hash, (hash, index), |(hash, _)| *hash);
        index
    }

    /// Number of distinct locations.
    pub(super) fn locations(&self) -> usize {
        self.locations.len()
    }

    /// Number of frames in all stacks.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Hands out locations and stacks and is empty afterwards; keeps the memory of the look-up tables
    /// that a window of the same size needs.
    pub(super) fn take(&mut self) -> (Vec<LocationKey>, Stacks) {
        let (locations, stacks) = (self.locations.len(), self.stacks.len());
        self.location_indices.clear();
        self.location_indices.shrink_to(locations);
        self.stack_indices.clear();
        self.stack_indices.shrink_to(stacks, |(hash, _)| *hash);
        self.frames = 0;
        (
            std::mem::take(&mut self.locations),
            std::mem::take(&mut self.stacks),
        )
    }
}
