//! The open window.

use std::sync::Arc;

use hashbrown::HashMap;
use profiler_common::unwind::Outcome;

use super::stack_table::StackTable;
use crate::profile::distinct::Distinct;
use crate::profile::window::{OutcomeCounts, WindowThread};
use crate::profile::{
    BootTime, ContextIndex, Degradation, Executable, ExecutableId, KernelCode, KernelCodeId,
    LocatedFrame, LocatedSample, LocationIndex, LocationKey, Losses, Occurrences, Process,
    ProcessKey, SampleContext, SampleKind, SampleLoss, StackIndex, ThreadIndex, ThreadName, Window,
    WindowSample,
};

/// Most of each thing that one window holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples (timestamps).
    pub samples: usize,
    /// Distinct locations.
    pub locations: usize,
    /// Frames in all distinct stacks together.
    pub stack_frames: usize,
    /// Distinct threads.
    pub threads: usize,
    /// Distinct contexts (labels and links); a sample that finds no room goes without.
    pub contexts: usize,
}

impl Default for Limits {
    /// Some 300 MiB at the very worst, where each sample has a stack of its own; a window of 10 s at
    /// 99 Hz on 64 CPUs is far below it.
    fn default() -> Self {
        Self {
            samples: 2_000_000,
            locations: 500_000,
            stack_frames: 10_000_000,
            threads: 200_000,
            contexts: 200_000,
        }
    }
}

/// What a window is.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What its samples measure.
    pub kind: SampleKind,
    /// Bounds of one window.
    pub limits: Limits,
}

/// A table of contexts with the empty one.
fn no_contexts() -> Distinct<Arc<SampleContext>> {
    let mut contexts = Distinct::default();
    contexts.intern(Arc::default());
    contexts
}

/// Collects the samples of one window at a time.
pub struct Aggregator {
    config: Config,
    start: BootTime,
    table: StackTable,
    scratch: Vec<LocationIndex>,
    process_indices: HashMap<ProcessKey, u32>,
    processes: Vec<Arc<Process>>,
    outcomes: Vec<OutcomeCounts>,
    thread_indices: HashMap<(ProcessKey, u32), ThreadIndex>,
    threads: Vec<WindowThread>,
    contexts: Distinct<Arc<SampleContext>>,
    sample_indices: HashMap<(ThreadIndex, StackIndex, ContextIndex), u32>,
    samples: Vec<WindowSample>,
    /// How the stack of each entry of `samples` ended: for those that move to the next window.
    sample_outcomes: Vec<Outcome>,
    count: usize,
    executables: HashMap<ExecutableId, Arc<Executable>>,
    kernel_code: HashMap<KernelCodeId, Arc<KernelCode>>,
    new_locations: Vec<LocatedFrame>,
    losses: Losses,
    moved: u64,
}

impl Aggregator {
    /// An aggregator whose first window opens at `start`.
    #[must_use]
    pub fn new(mut config: Config, start: BootTime) -> Self {
        const MOST: usize = u32::MAX as usize;
        let limits = &mut config.limits;
        limits.samples = limits.samples.min(MOST);
        limits.locations = limits.locations.min(MOST);
        limits.stack_frames = limits.stack_frames.min(MOST);
        limits.threads = limits.threads.min(MOST);
        limits.contexts = limits.contexts.min(MOST);
        Self {
            config,
            start,
            table: StackTable::default(),
            scratch: Vec::new(),
            process_indices: HashMap::new(),
            processes: Vec::new(),
            outcomes: Vec::new(),
            thread_indices: HashMap::new(),
            threads: Vec::new(),
            contexts: no_contexts(),
            sample_indices: HashMap::new(),
            samples: Vec::new(),
            sample_outcomes: Vec::new(),
            count: 0,
            executables: HashMap::new(),
            kernel_code: HashMap::new(),
            new_locations: Vec::new(),
            losses: Losses::default(),
            moved: 0,
        }
    }

    /// Adds a sample to the open window, or counts it as `SampleLoss::WindowFull`. The facts of a
    /// process are those of the sample that was added last.
    pub fn add(&mut self, sample: &LocatedSample) {
        self.insert(
            &sample.process,
            (sample.tid, sample.thread_name),
            &sample.frames,
            sample.context.as_ref(),
            sample.outcome,
            (sample.time, sample.value),
        );
    }

    /// Takes the facts of a process that are known now in the place of those that its samples came with, where the open window
    /// has any.
    pub fn amend(&mut self, process: &Arc<Process>) {
        if let Some(index) = self.process_indices.get(&process.key) {
            self.processes[*index as usize] = Arc::clone(process);
        }
    }

    /// Number of samples in the open window.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        self.count
    }

    /// When the open window was opened.
    #[must_use]
    pub fn start(&self) -> BootTime {
        self.start
    }

    /// The samples so far, of all windows, whose time was moved into their window.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The locations that the open window saw for the first time since this was last called, each
    /// once a window: those in memory that may be gone soon (JIT code) can be named ahead of `close`.
    pub fn take_new_locations(&mut self) -> Vec<LocatedFrame> {
        std::mem::take(&mut self.new_locations)
    }

    /// Ends the window at `end` (at least one nanosecond after its start) and starts the next one
    /// there. `losses` are those that the stages before counted since the last window.
    pub fn close(&mut self, end: BootTime, losses: Losses) -> Window {
        let end = BootTime(end.0.max(self.start.0.saturating_add(1)));
        let start = std::mem::replace(&mut self.start, end);
        let (locations, stacks) = self.table.take();
        self.process_indices.clear();
        self.process_indices.shrink_to(self.processes.len());
        self.thread_indices.clear();
        self.thread_indices.shrink_to(self.threads.len());
        self.sample_indices.clear();
        self.sample_indices.shrink_to(self.samples.len());
        self.new_locations.clear();
        self.count = 0;
        let mut all_losses = losses;
        all_losses.merge(&self.losses.take());
        let mut window = Window {
            start,
            end,
            kind: self.config.kind,
            processes: std::mem::take(&mut self.processes),
            threads: std::mem::take(&mut self.threads),
            locations,
            stacks,
            contexts: std::mem::replace(&mut self.contexts, no_contexts()).into_values(),
            samples: std::mem::take(&mut self.samples),
            executables: std::mem::take(&mut self.executables),
            kernel_code: std::mem::take(&mut self.kernel_code),
            outcomes: std::mem::take(&mut self.outcomes),
            losses: all_losses,
        };
        let outcomes = std::mem::take(&mut self.sample_outcomes);
        self.settle(&mut window, &outcomes);
        window
    }

    fn insert(
        &mut self,
        process: &Arc<Process>,
        (tid, name): (u32, ThreadName),
        frames: &[LocatedFrame],
        context: Option<&Arc<SampleContext>>,
        outcome: Outcome,
        (time, value): (BootTime, u64),
    ) {
        let limits = self.config.limits;
        if self.count >= limits.samples {
            self.losses.add(SampleLoss::WindowFull, 1);
            return;
        }
        let known_thread = self.thread_indices.get(&(process.key, tid)).copied();
        let stack = self.table.find(frames);
        let fits = (known_thread.is_some() || self.threads.len() < limits.threads)
            && (stack.is_ok() || self.fits(frames));
        if !fits {
            self.losses.add(SampleLoss::WindowFull, 1);
            return;
        }
        let thread = match known_thread {
            Some(thread) => thread,
            None => self.insert_thread(process, tid, name),
        };
        let process_index = self.threads[thread.0 as usize].process as usize;
        if !Arc::ptr_eq(&self.processes[process_index], process) {
            self.processes[process_index] = Arc::clone(process);
        }
        let stack = match stack {
            Ok(stack) => stack,
            Err(hash) => self.insert_stack(hash, frames),
        };
        let context = match context {
            Some(context) => self.context(context),
            None => ContextIndex::default(),
        };
        let next = self.samples.len() as u32;
        let key = (thread, stack, context);
        let index = *self.sample_indices.entry(key).or_insert(next);
        if index == next {
            self.samples.push(WindowSample {
                thread,
                stack,
                context,
                occurrences: Occurrences::default(),
            });
            self.sample_outcomes.push(outcome);
        }
        self.samples[index as usize].occurrences.push(time, value);
        self.outcomes[process_index].add(outcome);
        self.count += 1;
    }

    fn context(&mut self, context: &Arc<SampleContext>) -> ContextIndex {
        let known = self.contexts.find(context);
        match known {
            Some(index) => ContextIndex(index),
            None if self.contexts.as_slice().len() <= self.config.limits.contexts => {
                ContextIndex(self.contexts.intern(Arc::clone(context)))
            }
            None => {
                self.losses.add(Degradation::LabelCut, 1);
                ContextIndex::default()
            }
        }
    }

    fn fits(&self, frames: &[LocatedFrame]) -> bool {
        let limits = self.config.limits;
        let locations = self.table.locations();
        self.table.frames() + frames.len() <= limits.stack_frames
            && (locations + frames.len() <= limits.locations
                || locations + self.table.unknown_locations(frames) <= limits.locations)
    }

    fn insert_thread(&mut self, process: &Arc<Process>, tid: u32, name: ThreadName) -> ThreadIndex {
        let next = self.processes.len() as u32;
        let process_index = *self.process_indices.entry(process.key).or_insert(next);
        if process_index == next {
            self.processes.push(Arc::clone(process));
            self.outcomes.push(OutcomeCounts::default());
        }
        let thread = ThreadIndex(self.threads.len() as u32);
        self.threads.push(WindowThread {
            process: process_index,
            tid,
            name,
        });
        self.thread_indices.insert((process.key, tid), thread);
        thread
    }

    fn insert_stack(&mut self, hash: u64, frames: &[LocatedFrame]) -> StackIndex {
        let Self {
            table,
            scratch,
            executables,
            kernel_code,
            new_locations,
            ..
        } = self;
        table.insert(hash, frames, scratch, |frame| {
            if let Some(executable) = &frame.executable {
                executables
                    .entry(executable.id)
                    .or_insert_with(|| Arc::clone(executable));
            }
            if let Some(code) = &frame.kernel_code {
                kernel_code
                    .entry(code.id)
                    .or_insert_with(|| Arc::clone(code));
            }
            new_locations.push(frame.clone());
        })
    }

    /// Moves the samples of a closed window that lie outside of it: late ones to its start, those
    /// of the next window there (this aggregator's open one), impossible ones to its end.
    fn settle(&mut self, window: &mut Window, outcomes: &[Outcome]) {
        let (start, end) = (window.start, window.end);
        let horizon = BootTime(end.0.saturating_add(end.0 - start.0));
        let mut samples = std::mem::take(&mut window.samples);
        let mut carried = Vec::new();
        for (sample, outcome) in samples.iter_mut().zip(outcomes) {
            let mut times = sample.occurrences.times().iter();
            if times.all(|time| (start..end).contains(time)) {
                continue;
            }
            carried.clear();
            sample.occurrences.retain(|time, value| {
                if (end..horizon).contains(time) {
                    carried.push((*time, value));
                    return false;
                }
                let within = BootTime(time.0.min(end.0 - 1).max(start.0));
                self.moved += u64::from(within != *time);
                *time = within;
                true
            });
            if !carried.is_empty() {
                self.carry(window, sample, *outcome, &carried);
            }
        }
        samples.retain(|sample| !sample.occurrences.is_empty());
        window.samples = samples;
    }

    fn carry(
        &mut self,
        window: &mut Window,
        sample: &WindowSample,
        outcome: Outcome,
        taken: &[(BootTime, u64)],
    ) {
        let thread = &window.threads[sample.thread.0 as usize];
        let process = Arc::clone(&window.processes[thread.process as usize]);
        let frames: Vec<LocatedFrame> = window
            .stacks
            .get(sample.stack)
            .iter()
            .map(|index| {
                let key = window.location(*index);
                let executable = match key {
                    LocationKey::File(id, _) => window.executables.get(&id),
                    _ => None,
                };
                let kernel_code = match key {
                    LocationKey::KernelCode(id, _) => window.kernel_code.get(&id),
                    _ => None,
                };
                LocatedFrame {
                    key,
                    executable: executable.map(Arc::clone),
                    kernel_code: kernel_code.map(Arc::clone),
                }
            })
            .collect();
        let context = window.contexts.get(sample.context.0 as usize);
        let context = context.filter(|_| sample.context != ContextIndex::default());
        let thread_name = (thread.tid, thread.name);
        for taken in taken {
            self.insert(&process, thread_name, &frames, context, outcome, *taken);
            window.outcomes[thread.process as usize].remove(outcome);
        }
    }
}
