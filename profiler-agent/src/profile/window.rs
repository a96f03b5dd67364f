//! Samples of a span of time, aggregated: each distinct location, stack and thread once.

use std::sync::Arc;

use hashbrown::HashMap;
use profiler_common::unwind::Outcome;

use super::{
    BootTime, ContextIndex, Executable, ExecutableId, KernelCode, KernelCodeId, LocationIndex,
    LocationKey, Losses, Occurrences, Process, SampleContext, SampleKind, StackIndex, Stacks,
    ThreadIndex, ThreadName,
};

/// A thread that was sampled in a window.
#[derive(Clone, Debug)]
pub struct WindowThread {
    /// Index into `Window::processes`.
    pub process: u32,
    /// Thread id.
    pub tid: u32,
    /// Name when it was first sampled in this window.
    pub name: ThreadName,
}

/// All samples of one thread with one stack and one context.
#[derive(Clone, Debug)]
pub struct WindowSample {
    /// Whose.
    pub thread: ThreadIndex,
    /// Where.
    pub stack: StackIndex,
    /// For which request.
    pub context: ContextIndex,
    /// When, and how much: in the order of arrival.
    pub occurrences: Occurrences<BootTime>,
}

/// How the stacks of one executable's processes ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    counts: [u64; Outcome::ALL.len()],
}

impl OutcomeCounts {
    /// Counts one.
    pub const fn add(&mut self, outcome: Outcome) {
        self.counts[outcome as usize] += 1;
    }
    /// Counts so many.
    pub const fn add_many(&mut self, outcome: Outcome, count: u64) {
        let counted = &mut self.counts[outcome as usize];
        *counted = counted.saturating_add(count);
    }
    /// Takes one back that was counted before.
    pub const fn remove(&mut self, outcome: Outcome) {
        let count = &mut self.counts[outcome as usize];
        *count = count.saturating_sub(1);
    }
    /// Counts all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
    }
    /// How many ended in `outcome`.
    #[must_use]
    pub const fn of(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize]
    }
    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
    /// How many have a complete stack.
    #[must_use]
    pub fn complete(&self) -> u64 {
        Outcome::ALL
            .into_iter()
            .filter(|outcome| outcome.complete())
            .map(|outcome| self.of(outcome))
            .sum()
    }
}

/// A closed window.
#[derive(Clone, Debug)]
pub struct Window {
    /// When it was opened.
    pub start: BootTime,
    /// When it was closed; every sample lies in `start .. end`.
    pub end: BootTime,
    /// What its samples measure.
    pub kind: SampleKind,
    /// Processes that were sampled.
    pub processes: Vec<Arc<Process>>,
    /// Threads that were sampled.
    pub threads: Vec<WindowThread>,
    /// Distinct locations; indexed by [`LocationIndex`].
    pub locations: Vec<LocationKey>,
    /// Distinct stacks of locations.
    pub stacks: Stacks,
    /// Distinct contexts; the first is the empty one.
    pub contexts: Vec<Arc<SampleContext>>,
    /// The samples.
    pub samples: Vec<WindowSample>,
    /// The files that `locations` names.
    pub executables: HashMap<ExecutableId, Arc<Executable>>,
    /// The kernel's own code that `locations` names.
    pub kernel_code: HashMap<KernelCodeId, Arc<KernelCode>>,
    /// How stacks ended, per index into `processes`.
    pub outcomes: Vec<OutcomeCounts>,
    /// What was lost in this window, by cause.
    pub losses: Losses,
}

impl Window {
    /// The location with this index.
    #[must_use]
    pub fn location(&self, index: LocationIndex) -> LocationKey {
        self.locations[index.0 as usize]
    }
    /// Number of samples.
    #[must_use]
    pub fn sample_count(&self) -> u64 {
        self.samples
            .iter()
            .map(|s| s.occurrences.len() as u64)
            .sum()
    }
}
