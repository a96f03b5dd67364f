//! Tables in which each value is held once.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{LocationIndex, StackIndex, Stacks};

/// Bytes of an entry of an index; it is at least half full.
const ENTRY_BYTES: usize = 2 * 17;

/// Values in order of first appearance, each once: compared whole, found by hash.
#[derive(Debug)]
pub struct Distinct<T> {
    values: Vec<T>,
    indices: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            indices: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<T: Hash + Eq> Distinct<T> {
    /// The index of `value`, which is added where it is new.
    pub fn intern(&mut self, value: T) -> u32 {
        let hash = self.hasher.hash_one(&value);
        self.intern_by(hash, |known| *known == value)
            .unwrap_or_else(|| self.push(hash, value))
    }
    /// The index of `value`, where it is there.
    #[must_use]
    pub fn find(&self, value: &T) -> Option<u32> {
        self.intern_by(self.hasher.hash_one(value), |known| known == value)
    }
    /// The values.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }
    /// The value with this index, to change what is no part of its identity (`Eq` and `Hash`).
    pub(super) fn get_mut(&mut self, index: u32) -> &mut T {
        &mut self.values[index as usize]
    }
    /// Bytes of memory for the values so far, without what they own.
    pub(super) fn bytes(&self) -> usize {
        self.values.len() * (size_of::<T>() + ENTRY_BYTES)
    }
    /// The values, in order of index.
    #[must_use]
    pub fn into_values(self) -> Vec<T> {
        self.values
    }
    fn intern_by(&self, hash: u64, is_equal: impl Fn(&T) -> bool) -> Option<u32> {
        self.indices
            .find(hash, |(other, index)| {
                *other == hash && is_equal(&self.values[*index as usize])
            })
            .map(|(_, index)| *index)
    }
    fn push(&mut self, hash: u64, value: T) -> u32 {
        let index = self.values.len() as u32;
        self.values.push(value);
        self.indices
            .insert_unique(hash, (hash, index), |(hash, _)| *hash);
        index
    }
}

impl Distinct<Box<str>> {
    /// The index of `text`, which is copied where it is new.
    pub fn intern_str(&mut self, text: &str) -> u32 {
        // `Box<str>` hashes and compares as the text itself.
        let hash = self.hasher.hash_one(text);
        self.intern_by(hash, |known| **known == *text)
            .unwrap_or_else(|| self.push(hash, text.into()))
    }
}

/// Stacks of locations, each once.
#[derive(Debug, Default)]
pub struct DistinctStacks {
    stacks: Stacks,
    indices: HashTable<(u64, StackIndex)>,
    hasher: DefaultHashBuilder,
}

impl DistinctStacks {
    /// The index of `stack` (leaf first), which is added where it is new.
    pub fn intern(&mut self, stack: &[LocationIndex]) -> StackIndex {
        let hash = self.hasher.hash_one(stack);
        let known = self.indices.find(hash, |(other, index)| {
            *other == hash && self.stacks.get(*index) == stack
        });
        if let Some((_, index)) = known {
            return *index;
        }
        let index = self.stacks.push(stack);
        self.indices
            .insert_unique(hash, (hash, index), |(hash, _)| *hash);
        index
    }
    /// Bytes of memory for the stacks so far.
    pub(super) fn bytes(&self) -> usize {
        self.stacks.frame_count() * size_of::<LocationIndex>()
            + self.stacks.len() * (size_of::<u32>() + ENTRY_BYTES)
    }
    /// The stacks.
    #[must_use]
    pub fn into_stacks(self) -> Stacks {
        self.stacks
    }
}
