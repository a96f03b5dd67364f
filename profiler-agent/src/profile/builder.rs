//! Makes a [`Profile`] from parts that repeat.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashMap;

use super::distinct::{Distinct, DistinctStacks};
use super::window::OutcomeCounts;
use super::{
    Function, FunctionIndex, LabelSet, LabelSetIndex, Link, Location, LocationIndex, Losses,
    Mapping, MappingIndex, Occurrences, Process, Profile, ProfileSample, SampleKind, StackIndex,
    Thread, ThreadIndex, UnixTime,
};

/// Interns processes, threads, mappings, functions, locations and stacks, and adds up samples of the
/// same thread, stack, labels and link. Indices that it is given must be its own.
#[derive(Debug)]
pub struct ProfileBuilder {
    processes: Distinct<OneProcess>,
    outcomes: Vec<OutcomeCounts>,
    threads: Distinct<Thread>,
    functions: Distinct<Function>,
    mappings: Distinct<Mapping>,
    locations: Distinct<Location>,
    stacks: DistinctStacks,
    label_sets: Distinct<LabelSet>,
    sample_indices: HashMap<SampleKey, u32>,
    samples: Vec<ProfileSample>,
    losses: Losses,
}

/// What samples that are one have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// Whose.
    pub thread: ThreadIndex,
    /// Where.
    pub stack: StackIndex,
    /// With which labels.
    pub labels: LabelSetIndex,
    /// For which request.
    pub link: Option<Link>,
}

impl SampleKey {
    /// Samples of `thread` at `stack`, without labels and link.
    #[must_use]
    pub const fn new(thread: ThreadIndex, stack: StackIndex) -> Self {
        Self {
            thread,
            stack,
            labels: LabelSetIndex(0),
            link: None,
        }
    }
}

impl Default for ProfileBuilder {
    fn default() -> Self {
        let mut label_sets = Distinct::default();
        label_sets.intern(LabelSet::default());
        Self {
            processes: Distinct::default(),
            outcomes: Vec::new(),
            threads: Distinct::default(),
            functions: Distinct::default(),
            mappings: Distinct::default(),
            locations: Distinct::default(),
            stacks: DistinctStacks::default(),
            label_sets,
            sample_indices: HashMap::new(),
            samples: Vec::new(),
            losses: Losses::default(),
        }
    }
}

/// A process by what never changes of it; pid and start alone do not tell apart processes of
/// different machines or of files that know no start.
#[derive(Debug)]
struct OneProcess(Arc<Process>);

impl OneProcess {
    fn identity(&self) -> impl Eq + Hash + '_ {
        let Process {
            key,
            executable,
            container,
            ..
        } = &*self.0;
        (key, executable, container)
    }
}

impl PartialEq for OneProcess {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.identity() == other.identity()
    }
}

impl Eq for OneProcess {}

impl Hash for OneProcess {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl ProfileBuilder {
    /// The index of a process (same pid, start, executable and container). The facts of the value that
    /// came last stay.
    pub fn process(&mut self, process: Arc<Process>) -> u32 {
        let latest = Arc::clone(&process);
        let index = self.processes.intern(OneProcess(process));
        self.processes.get_mut(index).0 = latest;
        if index as usize == self.outcomes.len() {
            self.outcomes.push(OutcomeCounts::default());
        }
        index
    }
    /// The index of a thread.
    pub fn thread(&mut self, thread: Thread) -> ThreadIndex {
        ThreadIndex(self.threads.intern(thread))
    }
    /// The index of a mapping.
    pub fn mapping(&mut self, mapping: Mapping) -> MappingIndex {
        MappingIndex(self.mappings.intern(mapping))
    }
    /// The index of a function.
    pub fn function(&mut self, function: Function) -> FunctionIndex {
        FunctionIndex(self.functions.intern(function))
    }
    /// The index of a location.
    pub fn location(&mut self, location: Location) -> LocationIndex {
        LocationIndex(self.locations.intern(location))
    }
    /// The index of a stack, leaf first.
    pub fn stack(&mut self, stack: &[LocationIndex]) -> StackIndex {
        self.stacks.intern(stack)
    }
    /// The index of a set of labels.
    pub fn labels(&mut self, labels: LabelSet) -> LabelSetIndex {
        LabelSetIndex(self.label_sets.intern(labels))
    }
    /// Adds samples of which each is known.
    pub fn taken(&mut self, key: SampleKey, occurrences: &Occurrences<UnixTime>) {
        let (count, value) = (occurrences.len() as u64, occurrences.total());
        self.sample(key, (count, value), occurrences);
    }
    /// Adds samples, given how many they are and what they stand for together. Where it is not known when each was taken,
    /// `occurrences` is empty, and the sum has none either.
    pub fn sample(
        &mut self,
        key: SampleKey,
        (count, value): (u64, u64),
        occurrences: &Occurrences<UnixTime>,
    ) {
        let next = self.samples.len() as u32;
        let index = *self.sample_indices.entry(key).or_insert(next);
        if index == next {
            self.samples.push(ProfileSample {
                thread: key.thread,
                stack: key.stack,
                labels: key.labels,
                link: key.link,
                count,
                value,
                occurrences: occurrences.clone(),
            });
            return;
        }
        let sample = &mut self.samples[index as usize];
        if occurrences.is_empty() || sample.occurrences.is_empty() {
            sample.occurrences = Occurrences::default();
        } else {
            sample.occurrences.extend(occurrences.iter());
        }
        sample.count = sample.count.saturating_add(count);
        sample.value = sample.value.saturating_add(value);
    }
    /// Counts how stacks of a process ended.
    pub fn outcomes(&mut self, process: u32, outcomes: &OutcomeCounts) {
        self.outcomes[process as usize].merge(outcomes);
    }
    /// Counts losses.
    pub fn losses(&mut self, losses: &Losses) {
        self.losses.merge(losses);
    }
    /// About the bytes of memory for what was added so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let functions = self.functions.as_slice().iter();
        let names: usize = functions
            .map(|function| function.name.len() + function.system_name.len() + function.file.len())
            .sum();
        let locations = self.locations.as_slice().iter();
        let lines: usize = locations
            .map(|location| size_of_val(&*location.lines))
            .sum();
        // The index is at least half full.
        let sample = size_of::<ProfileSample>() + 2 * size_of::<(SampleKey, u32)>();
        let label_sets = self.label_sets.as_slice().iter();
        let labels = label_sets.flat_map(|set| &set.labels);
        let label_texts: usize = labels
            .map(|label| size_of_val(label) + label.key.len() + label.value.len())
            .sum();
        let threads = self.threads.as_slice().iter();
        let thread_names: usize = threads.map(|thread| thread.name.len()).sum();
        let samples = self.samples.iter();
        let times: usize = samples.map(|sample| sample.occurrences.bytes()).sum();
        self.processes.bytes()
            + self.processes.as_slice().len() * size_of::<Process>()
            + self.threads.bytes()
            + thread_names
            + self.functions.bytes()
            + names
            + self.mappings.bytes()
            + self.locations.bytes()
            + lines
            + self.stacks.bytes()
            + self.label_sets.bytes()
            + label_texts
            + self.samples.len() * sample
            + times
    }
    /// The locations so far, in order of index.
    #[must_use]
    pub fn locations(&self) -> &[Location] {
        self.locations.as_slice()
    }
    /// The profile.
    #[must_use]
    pub fn finish(self, start: UnixTime, end: UnixTime, kind: SampleKind) -> Profile {
        let processes = self.processes.into_values();
        Profile {
            start,
            end,
            kind,
            processes: processes.into_iter().map(|process| process.0).collect(),
            threads: self.threads.into_values(),
            functions: self.functions.into_values(),
            mappings: self.mappings.into_values(),
            locations: self.locations.into_values(),
            stacks: self.stacks.into_stacks(),
            label_sets: self.label_sets.into_values(),
            samples: self.samples,
            outcomes: self.outcomes,
            losses: self.losses,
        }
    }
}
