//! Where unwind tables lie in the kernel's segments of table memory. Pure.
//!
//! Small tables share segments of [`SEGMENT_BLOCKS`]; a table that is larger than half of one gets
//! a segment of its own size. Space is found first fit; a segment whose last table goes is given
//! back.

use std::collections::BTreeMap;

use profiler_common::layout::process::{MAX_SEGMENTS, TablePlace};

/// Blocks of 64 bytes in a shared segment: 1 MiB.
pub const SEGMENT_BLOCKS: u32 = 1 << 14;

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where the table goes.
    pub place: TablePlace,
    /// The segment must be created with this many blocks first.
    pub create: Option<u32>,
}

#[derive(Debug)]
struct Segment {
    blocks: u32,
    /// Free runs: start -> length.
    free: BTreeMap<u32, u32>,
}

/// All segments.
#[derive(Debug, Default)]
pub struct Segments {
    segments: BTreeMap<u16, Segment>,
}

impl Segments {
    /// Finds room for `blocks`; `None` when there are as many segments as there can be.
    pub fn place(&mut self, blocks: u32) -> Option<Placement> {
        let blocks = blocks.max(1);
        if blocks <= SEGMENT_BLOCKS / 2 {
            for (index, segment) in &mut self.segments {
                if let Some(start) = segment.take(blocks) {
                    return Some(Placement {
                        place: TablePlace::new(*index, start as u16),
                        create: None,
                    });
                }
            }
        }
        let index = (0..MAX_SEGMENTS as u16).find(|index| !self.segments.contains_key(index))?;
        let length = if blocks <= SEGMENT_BLOCKS / 2 {
            SEGMENT_BLOCKS
        } else {
            blocks
        };
        let mut segment = Segment {
            blocks: length,
            free: BTreeMap::from([(0, length)]),
        };
        segment.take(blocks);
        self.segments.insert(index, segment);
        Some(Placement {
            place: TablePlace::new(index, 0),
            create: Some(length),
        })
    }

    /// Gives back the `blocks` at `place`; the segment to remove, if it is empty now.
    pub fn release(&mut self, place: TablePlace, blocks: u32) -> Option<u16> {
        let index = place.segment() as u16;
        let segment = self.segments.get_mut(&index)?;
        segment.give(place.block(), blocks.max(1));
        if segment.free.get(&0) == Some(&segment.blocks) {
            self.segments.remove(&index);
            return Some(index);
        }
        None
    }

    /// Blocks of all segments: what the kernel has allocated.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.segments.values().map(|s| u64::from(s.blocks)).sum()
    }
}

impl Segment {
    fn take(&mut self, blocks: u32) -> Option<u32> {
        let (start, length) = self
            .free
            .iter()
            .find(|(_, length)| **length >= blocks)
            .map(|(start, length)| (*start, *length))?;
        self.free.remove(&start);
        if length > blocks {
            self.free.insert(start + blocks, length - blocks);
        }
        Some(start)
    }

    fn give(&mut self, start: u32, blocks: u32) {
        let (mut start, mut blocks) = (start, blocks);
        if let Some(behind) = self.free.remove(&(start + blocks)) {
            blocks += behind;
        }
        if let Some((before, length)) = self.free.range(..start).next_back()
            && before + length == start
        {
            start = *before;
            blocks += length;
        }
        self.free.insert(start, blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_large_table_has_a_segment_of_its_own() {
        let mut segments = Segments::default();
        let small = segments.place(10).unwrap();
        assert_eq!(small.create, Some(SEGMENT_BLOCKS));
        let large = segments.place(SEGMENT_BLOCKS * 3).unwrap();
        assert_eq!(large.create, Some(SEGMENT_BLOCKS * 3));
        assert_eq!(large.place.block(), 0);
        assert_eq!(segments.release(large.place, SEGMENT_BLOCKS * 3), Some(1));
        assert_eq!(segments.release(small.place, 10), Some(0));
        assert_eq!(segments.blocks(), 0);
    }

    proptest! {
        /// Against the naive model: a set of taken (segment, block) pairs.
        #[test]
        fn tables_never_overlap_and_everything_comes_back(
            steps in proptest::collection::vec((any::<bool>(), 1u32..12_000, any::<prop::sample::Index>()), 1..200)
        ) {
            let mut segments = Segments::default();
            let mut live: Vec<(TablePlace, u32)> = Vec::new();
            for (add, blocks, which) in steps {
                if add || live.is_empty() {
                    let placed = segments.place(blocks).unwrap();
                    let range = placed.place.block()..placed.place.block() + blocks;
                    for (other, length) in &live {
                        if other.segment() == placed.place.segment() {
                            let taken = other.block()..other.block() + length;
                            prop_assert!(range.end <= taken.start || taken.end <= range.start);
                        }
                    }
                    live.push((placed.place, blocks));
                } else {
                    let (place, blocks) = live.swap_remove(which.index(live.len()));
                    segments.release(place, blocks);
                }
            }
            for (place, blocks) in live {
                segments.release(place, blocks);
            }
            prop_assert_eq!(segments.blocks(), 0);
        }
    }
}
