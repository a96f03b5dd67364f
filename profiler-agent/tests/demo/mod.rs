//! Profiles by value: a made-up machine whose services are easy to recognize, the same every time.

pub(crate) mod shop;

use std::collections::HashMap;
use std::sync::Arc;

use profiler_agent::profile::{
    BootTime, FrameType, Function, FunctionIndex, Label, LabelSet, LabelSetIndex, LineEntry, Link,
    Location, LocationIndex, LocationKind, Losses, Mapping, MappingIndex, Occurrences, Process,
    ProcessKey, Profile, ProfileSample, SampleKind, SampleLoss, SamplePeriod, StackIndex, Stacks,
    Thread, ThreadIndex, UnixTime,
};
use profiler_common::unwind::Outcome;

/// Builds a profile stack by stack.
pub(crate) struct Builder {
    profile: Profile,
    functions: HashMap<String, FunctionIndex>,
    mappings: HashMap<String, MappingIndex>,
    locations: HashMap<String, LocationIndex>,
    stacks: HashMap<Vec<LocationIndex>, StackIndex>,
    threads: HashMap<(u32, String), ThreadIndex>,
    label_sets: HashMap<Vec<(String, String)>, LabelSetIndex>,
}

/// CPU time that a demo's samples stand for.
const PERIOD: SamplePeriod = SamplePeriod::from_hertz(99);

/// The request of a demo's samples: its labels, sorted by key, and its trace and span.
#[derive(Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    pub(crate) labels: &'a [(&'a str, &'a str)],
    pub(crate) link: Option<Link>,
}

impl Builder {
    /// An empty profile of `seconds` from `start`, sampled at 99 Hz.
    pub(crate) fn new(start: UnixTime, seconds: u64) -> Self {
        Self {
            profile: Profile {
                start,
                end: UnixTime(start.0 + seconds * 1_000_000_000),
                kind: SampleKind::on_cpu(PERIOD),
                processes: Vec::new(),
                threads: Vec::new(),
                functions: Vec::new(),
                mappings: Vec::new(),
                locations: Vec::new(),
                stacks: Stacks::default(),
                label_sets: vec![LabelSet::default()],
                samples: Vec::new(),
                outcomes: Vec::new(),
                losses: Losses::default(),
            },
            functions: HashMap::new(),
            mappings: HashMap::new(),
            locations: HashMap::new(),
            stacks: HashMap::new(),
            threads: HashMap::new(),
            label_sets: HashMap::new(),
        }
    }

    /// A process; its index.
    pub(crate) fn process(&mut self, pid: u32, comm: &str, executable: &str) -> u32 {
        self.profile.processes.push(Arc::new(Process {
            key: ProcessKey {
                pid,
                started: BootTime(u64::from(pid)),
            },
            parent: 1,
            comm: comm.into(),
            executable: executable.into(),
            cgroup: "/".into(),
            container: None,
            kernel: executable.is_empty(),
            resource: Arc::default(),
        }));
        self.profile.processes.len() as u32 - 1
    }

    fn thread(&mut self, process: u32, name: &str) -> ThreadIndex {
        let next = ThreadIndex(self.profile.threads.len() as u32);
        let pid = self.profile.processes[process as usize].key.pid;
        let index = *self
            .threads
            .entry((process, name.to_owned()))
            .or_insert(next);
        if index == next {
            self.profile.threads.push(Thread {
                process,
                tid: pid + next.0,
                name: name.into(),
            });
        }
        index
    }

    fn mapping(&mut self, file: &str) -> MappingIndex {
        let next = MappingIndex(self.profile.mappings.len() as u32);
        let index = *self.mappings.entry(file.to_owned()).or_insert(next);
        if index == next {
            self.profile.mappings.push(Mapping {
                file: file.into(),
                memory_start: 0x1000,
                memory_limit: 0x10_0000_0000,
                file_offset: 0,
                build_id: None,
                htl_hash: None,
            });
        }
        index
    }

    fn function(&mut self, name: &str) -> FunctionIndex {
        let next = FunctionIndex(self.profile.functions.len() as u32);
        let index = *self.functions.entry(name.to_owned()).or_insert(next);
        if index == next {
            self.profile.functions.push(Function {
                name: name.into(),
                system_name: name.into(),
                file: "".into(),
                start_line: 0,
            });
        }
        index
    }

    /// A location as one text: `kind:module:name`, inlined functions behind their caller with `»`. The
    /// kind is a frame type's name, `unnamed` or `broken`.
    fn location(&mut self, text: &str) -> LocationIndex {
        if let Some(index) = self.locations.get(text) {
            return *index;
        }
        let mut parts = text.splitn(3, ':');
        let kind = parts.next().unwrap_or_default();
        let module = parts.next().unwrap_or_default();
        let names = parts.next().unwrap_or_default();
        let lines = names
            .split('»')
            .rev()
            .map(|name| LineEntry {
                function: self.function(name),
                line: 1,
                column: 0,
            })
            .collect();
        let index = LocationIndex(self.profile.locations.len() as u32);
        let location = Location {
            mapping: (kind != "broken").then(|| self.mapping(module)),
            address: 0x1000 + u64::from(index.0) * 16,
            lines,
            frame_type: FrameType::from_name(kind).unwrap_or(FrameType::Native),
            kind: match kind {
                "broken" => LocationKind::StackEnd(
                    LocationKind::stack_end_of_name(names).unwrap_or(Outcome::Truncated),
                ),
                "unnamed" => LocationKind::Unnamed,
                _ => LocationKind::Named,
            },
        };
        self.profile.locations.push(location);
        self.locations.insert(text.to_owned(), index);
        index
    }

    /// Counts samples of a stack, outermost frame first, each as [`Self::location`] has it.
    pub(crate) fn add(&mut self, process: u32, thread: &str, outermost_first: &[&str], count: u64) {
        self.push(
            process,
            thread,
            outermost_first,
            count,
            &[],
            Request::default(),
        );
    }

    /// Counts samples of a request, one at each time.
    pub(crate) fn add_request(
        &mut self,
        process: u32,
        thread: &str,
        outermost_first: &[&str],
        times: &[UnixTime],
        request: Request<'_>,
    ) {
        let count = times.len() as u64;
        self.push(process, thread, outermost_first, count, times, request);
    }

    fn labels(&mut self, labels: &[(&str, &str)]) -> LabelSetIndex {
        if labels.is_empty() {
            return LabelSetIndex(0);
        }
        let owned = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let next = LabelSetIndex(self.profile.label_sets.len() as u32);
        let index = *self.label_sets.entry(owned.collect()).or_insert(next);
        if index == next {
            let label = |(key, value): &(&str, &str)| Label {
                key: (*key).into(),
                value: (*value).into(),
            };
            self.profile.label_sets.push(LabelSet {
                labels: labels.iter().map(label).collect(),
                goroutine: None,
            });
        }
        index
    }

    fn push(
        &mut self,
        process: u32,
        thread: &str,
        outermost_first: &[&str],
        count: u64,
        times: &[UnixTime],
        request: Request<'_>,
    ) {
        if count == 0 {
            return;
        }
        let thread = self.thread(process, thread);
        let stack: Vec<LocationIndex> = outermost_first
            .iter()
            .rev()
            .map(|text| self.location(text))
            .collect();
        let stack = match self.stacks.get(&stack) {
            Some(index) => *index,
            None => {
                let index = self.profile.stacks.push(&stack);
                self.stacks.insert(stack, index);
                index
            }
        };
        let labels = self.labels(request.labels);
        self.profile.samples.push(ProfileSample {
            thread,
            stack,
            labels,
            link: request.link,
            count,
            value: count * PERIOD.nanoseconds(),
            occurrences: Occurrences::equal(PERIOD.nanoseconds(), times.to_vec()),
        });
    }

    /// Counts a loss.
    pub(crate) fn lose(&mut self, cause: SampleLoss, count: u64) {
        self.profile.losses.add(cause, count);
    }

    /// The profile.
    pub(crate) fn finish(self) -> Profile {
        self.profile
    }
}
