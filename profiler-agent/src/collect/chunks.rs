//! Which slots of the kernel's array of chunks are in use, and for what. Pure.
//!
//! Chunks are shared by content: a forked child has its parent's. A slot that is no longer referred
//! to is reused only after [`REUSE_AFTER`]: until then a sample in progress, or a child whose fork
//! the agent has not seen yet, may still read it.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use profiler_common::layout::MappingChunk;
use profiler_common::layout::process::MAX_CHUNKS;

use crate::profile::BootTime;

/// How long a slot rests before it is reused.
pub const REUSE_AFTER: Duration = Duration::from_secs(5);

type Content = [u64; size_of::<MappingChunk>() / 8];

/// The slots.
#[derive(Debug, Default)]
pub struct ChunkSlots {
    by_content: HashMap<Content, u32>,
    slots: HashMap<u32, (Content, u32)>,
    resting: VecDeque<(BootTime, u32)>,
    fresh: u32,
}

/// A slot for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSlot {
    /// Its index.
    pub slot: u32,
    /// The chunk must be written there first.
    pub write: bool,
}

impl ChunkSlots {
    /// A slot that holds `chunk`; `None` when all are in use or resting.
    pub fn acquire(&mut self, chunk: &MappingChunk, now: BootTime) -> Option<ChunkSlot> {
        let content = content(chunk);
        if let Some(slot) = self.by_content.get(&content)
            && let Some((_, users)) = self.slots.get_mut(slot)
        {
            *users += 1;
            return Some(ChunkSlot {
                slot: *slot,
                write: false,
            });
        }
        let slot = if self.rested(now) {
            self.resting.pop_front()?.1
        } else if (self.fresh as usize) < MAX_CHUNKS {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.by_content.insert(content, slot);
        self.slots.insert(slot, (content, 1));
        Some(ChunkSlot { slot, write: true })
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

fn content(chunk: &MappingChunk) -> Content {
    let mut content = [0; size_of::<MappingChunk>() / 8];
    for (entry, words) in chunk.mappings.iter().zip(content.as_chunks_mut::<4>().0) {
        *words = [
            entry.start,
            entry.end,
            entry.bias,
            u64::from(entry.table) << 32 | u64::from(entry.buckets),
        ];
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::layout::MappingEntry;
    use profiler_common::layout::process::MAPPINGS_PER_CHUNK;

    fn chunk(start: u64) -> MappingChunk {
        let mut mappings = [MappingEntry::default(); MAPPINGS_PER_CHUNK];
        mappings[0].start = start;
        MappingChunk { mappings }
    }

    #[test]
    fn equal_chunks_share_a_slot_and_a_slot_rests_before_it_is_reused() {
        let mut slots = ChunkSlots::default();
        let now = BootTime(0);
        let first = slots.acquire(&chunk(1), now).unwrap();
        let second = slots.acquire(&chunk(1), now).unwrap();
        assert_eq!((first.write, second.write), (true, false));
        assert_eq!(first.slot, second.slot);
        slots.release(first.slot, now);
        assert!(!slots.acquire(&chunk(1), now).unwrap().write);
        slots.release(first.slot, now);
        slots.release(first.slot, now);
        let early = slots
            .acquire(&chunk(2), now.plus(Duration::from_secs(4)))
            .unwrap();
        assert_ne!(early.slot, first.slot);
        let late = slots.acquire(&chunk(3), now.plus(REUSE_AFTER)).unwrap();
        assert_eq!((late.slot, late.write), (first.slot, true));
    }

    #[test]
    fn slots_run_out_without_panic() {
        let mut slots = ChunkSlots::default();
        for start in 0..MAX_CHUNKS as u64 {
            assert!(slots.acquire(&chunk(start), BootTime(0)).is_some());
        }
        assert_eq!(slots.acquire(&chunk(u64::MAX), BootTime(0)), None);
    }
}
