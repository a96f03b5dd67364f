//! A profile whose locations have names: what is encoded, stored and shown.

use std::sync::Arc;

use super::{
    BuildId, FrameType, HtlHash, LabelSet, LabelSetIndex, Link, LocationKind, Losses, Occurrences,
    Process, SampleKind, UnixTime, window::OutcomeCounts,
};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
    };
}
index! {
    /// Index into `Profile::functions`.
    FunctionIndex
}
index! {
    /// Index into `Profile::mappings`.
    MappingIndex
}
index! {
    /// Index into `Profile::locations` (`Window::locations`).
    LocationIndex
}
index! {
    /// Index into a [`Stacks`].
    StackIndex
}
index! {
    /// Index into `Profile::threads` (`Window::threads`).
    ThreadIndex
}

/// Distinct stacks, flat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    locations: Vec<LocationIndex>,
    ends: Vec<u32>,
}

impl Stacks {
    /// Appends a stack (leaf first); whether it is there already is the caller's business.
    pub fn push(&mut self, stack: &[LocationIndex]) -> StackIndex {
        self.locations.extend_from_slice(stack);
        self.ends.push(self.locations.len() as u32);
        StackIndex(self.ends.len() as u32 - 1)
    }
    /// Frames of all stacks together.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.locations.len()
    }
    /// The stack's locations, leaf first.
    #[must_use]
    pub fn get(&self, index: StackIndex) -> &[LocationIndex] {
        let index = index.0 as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.locations[start as usize..self.ends[index] as usize]
    }
    /// Number of stacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Demangled name.
    pub name: Arc<str>,
    /// Name as the symbol table has it.
    pub system_name: Arc<str>,
    /// Source file; empty where unknown.
    pub file: Arc<str>,
    /// Line on which it starts; 0 where unknown.
    pub start_line: u32,
}

/// One function of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineEntry {
    /// The function.
    pub function: FunctionIndex,
    /// Line in its file; 0 where unknown.
    pub line: u32,
    /// Column; 0 where unknown.
    pub column: u32,
}

/// A file (or the kernel) that locations lie in, in the file's own address space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Path, `[kernel]`, `[vdso]` or `[anonymous]`.
    pub file: Arc<str>,
    /// First address of the executable segment, as the file states it.
    pub memory_start: u64,
    /// First address behind it.
    pub memory_limit: u64,
    /// Where the segment starts in the file.
    pub file_offset: u64,
    /// GNU build id.
    pub build_id: Option<BuildId>,
    /// Head-tail-length hash.
    pub htl_hash: Option<HtlHash>,
}

/// A location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Its mapping; none for a broken stack's marker.
    pub mapping: Option<MappingIndex>,
    /// Its address: as the file states it, in the kernel, or in the process (anonymous memory).
    pub address: u64,
    /// Its functions: the innermost inlined one first, the one that has the code last.
    pub lines: Box<[LineEntry]>,
    /// What kind of code.
    pub frame_type: FrameType,
    /// Whether its function has a name, or what it stands for.
    pub kind: LocationKind,
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// Index into `Profile::processes`.
    pub process: u32,
    /// Thread id.
    pub tid: u32,
    /// Its name. Untrusted.
    pub name: Arc<str>,
}

/// All samples of one thread with one stack, one set of labels and one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileSample {
    /// Whose.
    pub thread: ThreadIndex,
    /// Where.
    pub stack: StackIndex,
    /// With which labels.
    pub labels: LabelSetIndex,
    /// For which request.
    pub link: Option<Link>,
    /// How many samples.
    pub count: u64,
    /// What they stand for together, in the unit of the profile's kind.
    pub value: u64,
    /// When, and how much each time; empty in profiles that were read back from a file without times.
    pub occurrences: Occurrences<UnixTime>,
}

/// A profile of samples of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// When its window was opened.
    pub start: UnixTime,
    /// When its window was closed.
    pub end: UnixTime,
    /// What its samples measure.
    pub kind: SampleKind,
    /// Processes.
    pub processes: Vec<Arc<Process>>,
    /// Threads.
    pub threads: Vec<Thread>,
    /// Functions, each once.
    pub functions: Vec<Function>,
    /// Mappings, each once.
    pub mappings: Vec<Mapping>,
    /// Locations, each once.
    pub locations: Vec<Location>,
    /// Stacks of locations, each once.
    pub stacks: Stacks,
    /// Sets of labels, each once; the first is the empty one.
    pub label_sets: Vec<LabelSet>,
    /// The samples.
    pub samples: Vec<ProfileSample>,
    /// How stacks ended, per index into `processes` (empty when read back from a file).
    pub outcomes: Vec<OutcomeCounts>,
    /// What was lost, by cause.
    pub losses: Losses,
}

impl Profile {
    /// Number of samples.
    #[must_use]
    pub fn sample_count(&self) -> u64 {
        let counts = self.samples.iter().map(|sample| sample.count);
        counts.fold(0, u64::saturating_add)
    }
    /// What all samples stand for together, in the unit of its kind.
    #[must_use]
    pub fn value(&self) -> u64 {
        let values = self.samples.iter().map(|sample| sample.value);
        values.fold(0, u64::saturating_add)
    }
}
