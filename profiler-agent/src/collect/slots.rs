//! Which slots of an array that the kernel side reads are in use, and for what. Pure.
//!
//! What is equal shares a slot: a forked child has its parent's mappings. A slot that is no longer referred
//! to is reused only after [`REUSE_AFTER`]: until then a sample in progress, or a child whose fork
//! the agent has not seen yet, may still read it.

use std::collections::VecDeque;
use std::hash::Hash;
use std::ops::Range;
use std::time::Duration;

use hashbrown::HashMap;

use crate::profile::BootTime;

/// How long a slot rests before it is reused.
pub const REUSE_AFTER: Duration = Duration::from_secs(5);

/// The slots of one array.
#[derive(Debug)]
pub struct Slots<C> {
    by_content: HashMap<C, u32>,
    slots: HashMap<u32, (C, u32)>,
    resting: VecDeque<(BootTime, u32)>,
    fresh: u32,
    end: u32,
}

/// A slot for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its index.
    pub slot: u32,
    /// The value must be written there first.
    pub write: bool,
}

impl<C: Clone + Eq + Hash> Slots<C> {
    /// The slots of an array with these indices.
    #[must_use]
    pub fn new(indices: Range<u32>) -> Self {
        Self {
            by_content: HashMap::new(),
            slots: HashMap::new(),
            resting: VecDeque::new(),
            fresh: indices.start,
            end: indices.end,
        }
    }

    /// A slot that holds `content`; `None` when all are in use or resting.
    pub fn acquire(&mut self, content: &C, now: BootTime) -> Option<Slot> {
        if let Some(slot) = self.by_content.get(content)
            && let Some((_, users)) = self.slots.get_mut(slot)
        {
            *users += 1;
            return Some(Slot {
                slot: *slot,
                write: false,
            });
        }
        let slot = if self.rested(now) {
            self.resting.pop_front()?.1
        } else if self.fresh < self.end {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.by_content.insert(content.clone(), slot);
        self.slots.insert(slot, (content.clone(), 1));
        Some(Slot { slot, write: true })
    }

    /// Slots in use or resting.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.slots.len() + self.resting.len()
    }

    /// Slots in use.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        self.slots.len()
    }

    fn rested(&self, now: BootTime) -> bool {
        self.resting
            .front()
            .is_some_and(|(since, _)| now.since(*since) >= REUSE_AFTER)
    }

    /// One user of `slot` less.
    pub fn release(&mut self, slot: u32, now: BootTime) {
        let Some((content, users)) = self.slots.get_mut(&slot) else {
            return;
        };
        *users -= 1;
        if *users == 0 {
            self.by_content.remove(content);
            self.slots.remove(&slot);
            self.resting.push_back((now, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_share_a_slot_and_a_slot_rests_before_it_is_reused() {
        let mut slots = Slots::new(3..100);
        let now = BootTime(0);
        let first = slots.acquire(&1, now).unwrap();
        let second = slots.acquire(&1, now).unwrap();
        assert_eq!((first.write, second.write), (true, false));
        assert_eq!(slots.taken(), 1);
        assert_eq!(first.slot, second.slot);
        slots.release(first.slot, now);
        assert!(!slots.acquire(&1, now).unwrap().write);
        slots.release(first.slot, now);
        slots.release(first.slot, now);
        assert_eq!(slots.taken(), 1, "it rests");
        let early = slots.acquire(&2, now.plus(Duration::from_secs(4))).unwrap();
        assert_ne!(early.slot, first.slot);
        let late = slots.acquire(&3, now.plus(REUSE_AFTER)).unwrap();
        assert_eq!((late.slot, late.write), (first.slot, true));
    }

    #[test]
    fn slots_run_out_without_panic() {
        let mut slots = Slots::new(3..100);
        for content in 3..100 {
            let slot = slots.acquire(&content, BootTime(0)).unwrap();
            assert_eq!(slot.slot, content);
        }
        assert_eq!(slots.acquire(&100, BootTime(0)), None);
    }
}
