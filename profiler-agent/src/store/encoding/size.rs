//! The memory that a profile takes, as both sides of the format count it: a few bytes of a body may stand for much of it, such
//! as the name of a process that thousands of processes share and each has a copy of.
//!
//! Columns that are read on the way take about as much again, one table at a time.

use profiler_common::unwind::Outcome;

use crate::profile::window::OutcomeCounts;
use crate::profile::{
    Function, Label, LabelSet, LineEntry, Location, LocationIndex, Mapping, Process, Profile,
    ProfileSample, ResourceAttribute, Thread, UnixTime,
};
use crate::store::leb128::Reader;

/// Most bytes of memory that a profile takes: more than a window that is full in every respect.
pub(super) const MAX_MEMORY: u64 = 1 << 30;

/// What an allocation takes beside its content: its handle, the counts of its owners, the allocator's share.
const ALLOCATION: usize = 48;
/// A process without its texts and attributes.
pub(super) const PROCESS: usize = size_of::<Process>() + 2 * ALLOCATION;
pub(super) const ATTRIBUTE: usize = size_of::<ResourceAttribute>();
pub(super) const THREAD: usize = size_of::<Thread>();
pub(super) const FUNCTION: usize = size_of::<Function>();
pub(super) const MAPPING: usize = size_of::<Mapping>();
/// A location without its lines.
pub(super) const LOCATION: usize = size_of::<Location>() + ALLOCATION;
pub(super) const LINE: usize = size_of::<LineEntry>();
/// A set without its labels.
pub(super) const LABEL_SET: usize = size_of::<LabelSet>() + ALLOCATION;
pub(super) const LABEL: usize = size_of::<Label>();
/// A stack without its frames.
pub(super) const STACK: usize = size_of::<u32>();
pub(super) const FRAME: usize = size_of::<LocationIndex>();
/// A sample without its times.
pub(super) const SAMPLE: usize = size_of::<ProfileSample>() + ALLOCATION;
/// A time, and a value of its own.
pub(super) const TIME: usize = size_of::<UnixTime>() + size_of::<u64>();
pub(super) const OUTCOMES: usize = size_of::<OutcomeCounts>();

const _: () = assert!(OUTCOMES == 8 * Outcome::ALL.len());

/// A text that is copied for one process.
pub(super) const fn copy(text: &str) -> usize {
    ALLOCATION + text.len()
}

/// The memory that is left while a body is read.
pub(super) struct Room(u64);

impl Room {
    pub(super) const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    /// Bytes that are left.
    #[cfg(test)]
    pub(super) const fn left(&self) -> u64 {
        self.0
    }
    /// Takes so many bytes for each of so many; `None` where there are not as many left.
    pub(super) fn take(&mut self, count: usize, bytes: usize) -> Option<()> {
        let bytes = (count as u64).checked_mul(bytes as u64)?;
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
    /// Takes what the texts of a body take, and whatever else is as long in memory as in the body.
    pub(super) fn take_texts(&mut self, body: &[u8]) -> Option<()> {
        let texts = usize::try_from(Reader(body).number()?).ok()?;
        self.take(texts, ALLOCATION)?;
        self.take(body.len(), 1)
    }
}

/// Takes what the profile takes whose body this is; `None` where that is too much.
pub(super) fn take(room: &mut Room, profile: &Profile, body: &[u8]) -> Option<()> {
    let Profile {
        start: _,
        end: _,
        kind: _,
        processes,
        threads,
        functions,
        mappings,
        locations,
        stacks,
        label_sets,
        samples,
        outcomes,
        losses: _,
    } = profile;
    room.take_texts(body)?;
    for process in processes {
        room.take(1, PROCESS)?;
        for text in [&process.comm, &process.executable, &process.cgroup] {
            room.take(1, copy(text))?;
        }
        if let Some(container) = &process.container {
            room.take(1, copy(&container.0))?;
        }
        room.take(process.resource.len(), ATTRIBUTE)?;
    }
    room.take(threads.len(), THREAD)?;
    room.take(functions.len(), FUNCTION)?;
    room.take(mappings.len(), MAPPING)?;
    room.take(locations.len(), LOCATION)?;
    for location in locations {
        room.take(location.lines.len(), LINE)?;
    }
    room.take(label_sets.len(), LABEL_SET)?;
    for set in label_sets {
        room.take(set.labels.len(), LABEL)?;
    }
    room.take(stacks.len(), STACK)?;
    room.take(stacks.frame_count(), FRAME)?;
    room.take(samples.len(), SAMPLE)?;
    for sample in samples {
        room.take(sample.occurrences.len(), TIME)?;
    }
    room.take(outcomes.len(), OUTCOMES)
}
