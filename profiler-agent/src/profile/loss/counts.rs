//! Counts by cause.

use std::collections::BTreeMap;

/// A number for each cause that occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts<C> {
    counts: BTreeMap<C, u64>,
}

impl<C> Default for Counts<C> {
    fn default() -> Self {
        Self {
            counts: BTreeMap::new(),
        }
    }
}

impl<C: Copy + Ord> Counts<C> {
    /// Counts `count` more of `cause`; zero leaves no entry.
    pub fn add(&mut self, cause: C, count: u64) {
        if count > 0 {
            *self.counts.entry(cause).or_default() += count;
        }
    }
    /// Counts all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (cause, count) in &other.counts {
            self.add(*cause, *count);
        }
    }
    /// How many of `cause`.
    #[must_use]
    pub fn of(&self, cause: C) -> u64 {
        self.counts.get(&cause).copied().unwrap_or(0)
    }
    /// Every cause that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (C, u64)> + '_ {
        self.counts.iter().map(|(cause, count)| (*cause, *count))
    }
    /// How many of all causes together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
    /// Did nothing happen?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
