//! A profile as requests, one for each series, or for each part of one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use profiler_common::unwind::Outcome;
use prost::Message;

use super::config::Options;
use super::generated::{LabelPair, PushRequest, RawProfileSeries, RawSample};
use super::series::{Labels, cut, labels, sample_labels};
use crate::export::pprof;
use crate::export::read::made_up_name;
use crate::profile::{
    BootTime, FrameType, Function, Label, LabelSet, LabelSetIndex, LineEntry, Location,
    LocationIndex, LocationKind, Occurrences, Payload, PayloadId, Process, ProcessKey, Profile,
    ProfileBuilder, ProfileSample, SampleKey, StackIndex, Thread, ThreadIndex, WindowUuid,
};

/// What stands for the frames that a stack has too many of.
const TRUNCATED: &str = "[truncated]";

/// The profile as requests within the limits of `options`; none where it has no samples.
#[must_use]
pub fn encode(profile: &Profile, window: WindowUuid, options: &Options) -> Vec<Payload> {
    let mut encoder = Encoder {
        profile,
        window,
        options,
        payloads: Vec::new(),
    };
    for ((series, _), samples) in series(profile, options) {
        let sets = samples
            .iter()
            .map(|sample| &profile.label_sets[sample.labels.0 as usize]);
        let names = sample_labels(sets, &series, &options.limits);
        encoder.series(&series, &names, &samples);
    }
    encoder.payloads
}

/// The samples of each series. Programs do not share a profile: what language it is of is guessed from all of it.
fn series<'a>(
    profile: &'a Profile,
    options: &Options,
) -> BTreeMap<(Labels, &'a str), Vec<&'a ProfileSample>> {
    let of_process: Vec<_> = profile
        .processes
        .iter()
        .map(|process| {
            (
                labels(process, profile.kind.kind, options),
                &*process.executable,
            )
        })
        .collect();
    let mut series: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sample in profile.samples.iter().filter(|sample| sample.count > 0) {
        let thread = &profile.threads[sample.thread.0 as usize];
        let key = of_process[thread.process as usize].clone();
        series.entry(key).or_default().push(sample);
    }
    series
}

struct Encoder<'a> {
    profile: &'a Profile,
    window: WindowUuid,
    options: &'a Options,
    payloads: Vec<Payload>,
}

impl Encoder<'_> {
    /// Adds the samples, in halves (of halves ..) where they are too many for one profile.
    fn series(
        &mut self,
        series: &Labels,
        names: &BTreeMap<String, String>,
        samples: &[&ProfileSample],
    ) {
        let limits = &self.options.limits;
        // Of many samples one is made, where they differ in what the series does not tell: so it is counted first.
        let part = Part::of(self.profile, names, samples, self.options);
        let fits = if part.samples.len() > limits.samples && samples.len() > 1 {
            None
        } else {
            let (raw_profile, raw_length) = pprof::encode_measured(&part);
            let fits = raw_length <= limits.profile_bytes || samples.len() < 2;
            fits.then_some((raw_profile, raw_length))
        };
        let Some((raw_profile, raw_length)) = fits else {
            drop(part);
            let (first, second) = samples.split_at(samples.len() / 2);
            self.series(series, names, first);
            return self.series(series, names, second);
        };
        let number = self.payloads.len() as u32;
        let request = PushRequest {
            series: vec![RawProfileSeries {
                labels: pairs(series),
                samples: vec![RawSample {
                    raw_profile,
                    id: uuid(self.window.profile(number)),
                }],
            }],
        };
        self.payloads.push(Payload {
            id: PayloadId {
                window: self.window,
                part: number,
            },
            start: self.profile.start,
            end: self.profile.end,
            samples: samples.iter().map(|sample| sample.count).sum(),
            // The profile within it is.
            coding: crate::profile::Coding::Identity,
            raw_length: raw_length as u64,
            bytes: request.encode_to_vec(),
        });
    }
}

fn pairs(labels: &Labels) -> Vec<LabelPair> {
    let pair = |(name, value): (&String, &String)| LabelPair {
        name: name.clone(),
        value: value.clone(),
    };
    labels.iter().map(pair).collect()
}

/// As RFC 9562 writes it.
fn uuid(id: [u8; 16]) -> String {
    let digits = WindowUuid(id).to_string();
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    groups.map(|group| &digits[group]).join("-")
}

/// Makes a profile of some samples, without the threads and processes that they are of.
struct Part<'a> {
    profile: &'a Profile,
    names: &'a BTreeMap<String, String>,
    options: &'a Options,
    builder: ProfileBuilder,
    locations: HashMap<LocationIndex, LocationIndex>,
    stacks: HashMap<StackIndex, StackIndex>,
    labels: HashMap<LabelSetIndex, LabelSetIndex>,
}

impl<'a> Part<'a> {
    fn of(
        profile: &'a Profile,
        names: &'a BTreeMap<String, String>,
        samples: &[&ProfileSample],
        options: &'a Options,
    ) -> Profile {
        let mut part = Self {
            profile,
            names,
            options,
            builder: ProfileBuilder::default(),
            locations: HashMap::new(),
            stacks: HashMap::new(),
            labels: HashMap::new(),
        };
        let thread = part.nobody();
        for sample in samples {
            let key = SampleKey {
                thread,
                stack: part.stack(sample.stack),
                labels: part.labels(sample.labels),
                link: sample.link,
            };
            let sums = (sample.count, sample.value);
            part.builder.sample(key, sums, &Occurrences::default());
        }
        part.builder
            .finish(profile.start, profile.end, profile.kind)
    }

    /// A thread without number and name: it makes no labels.
    fn nobody(&mut self) -> ThreadIndex {
        let process = self.builder.process(Arc::new(Process {
            key: ProcessKey {
                pid: 0,
                started: BootTime(0),
            },
            parent: 0,
            comm: "".into(),
            executable: "".into(),
            cgroup: "".into(),
            container: None,
            kernel: false,
            resource: [].into(),
        }));
        self.builder.thread(Thread {
            process,
            tid: 0,
            name: "".into(),
        })
    }

    /// The stack; one that is too deep loses what is nearest to its root, and ends in a frame that says so.
    fn stack(&mut self, index: StackIndex) -> StackIndex {
        if let Some(known) = self.stacks.get(&index) {
            return *known;
        }
        let profile = self.profile;
        let frames = profile.stacks.get(index);
        let depth =
            |location: &LocationIndex| profile.locations[location.0 as usize].lines.len().max(1);
        let most = self.options.limits.stack_depth;
        let mut locations = Vec::with_capacity(frames.len());
        let whole = frames.iter().map(depth).sum::<usize>() <= most;
        // The last frame is for the word.
        let mut left = if whole {
            usize::MAX
        } else {
            most.saturating_sub(1)
        };
        for frame in frames {
            let Some(rest) = left.checked_sub(depth(frame)) else {
                break;
            };
            left = rest;
            locations.push(self.location(*frame));
        }
        if !whole {
            locations.push(self.marker());
        }
        let new = self.builder.stack(&locations);
        self.stacks.insert(index, new);
        new
    }

    fn marker(&mut self) -> LocationIndex {
        let lines = [self.named(TRUNCATED)].into();
        self.builder.location(Location {
            mapping: None,
            address: 0,
            lines,
            frame_type: FrameType::Native,
            kind: LocationKind::StackEnd(Outcome::Truncated),
        })
    }

    fn named(&mut self, name: &str) -> LineEntry {
        let name: Arc<str> = name.into();
        LineEntry {
            function: self.builder.function(Function {
                system_name: Arc::clone(&name),
                name,
                file: "".into(),
                start_line: 0,
            }),
            line: 0,
            column: 0,
        }
    }

    fn location(&mut self, index: LocationIndex) -> LocationIndex {
        if let Some(known) = self.locations.get(&index) {
            return *known;
        }
        let profile = self.profile;
        let location = &profile.locations[index.0 as usize];
        let mapping = location
            .mapping
            .map(|mapping| &profile.mappings[mapping.0 as usize]);
        let lines = location.lines.iter().map(|line| {
            let mut function = profile.functions[line.function.0 as usize].clone();
            if function.name.is_empty() {
                function.name = "[unknown]".into();
            }
            LineEntry {
                function: self.builder.function(function),
                ..*line
            }
        });
        let mut lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            // Locations without lines are left out of flame graphs.
            let file = mapping.map(|mapping| &*mapping.file);
            lines.push(self.named(&made_up_name(file, location.address)));
        }
        let mapping = mapping.map(|mapping| self.builder.mapping(mapping.clone()));
        let new = self.builder.location(Location {
            mapping,
            lines: lines.into(),
            ..location.clone()
        });
        self.locations.insert(index, new);
        new
    }

    fn labels(&mut self, index: LabelSetIndex) -> LabelSetIndex {
        if let Some(known) = self.labels.get(&index) {
            return *known;
        }
        let set = &self.profile.label_sets[index.0 as usize];
        let mut labels: Vec<Label> = set
            .labels
            .iter()
            .filter_map(|label| {
                Some(Label {
                    key: self.names.get(&*label.key)?.as_str().into(),
                    value: cut(&label.value, self.options.limits.label_value).into(),
                })
            })
            .filter(|label| !label.value.is_empty())
            .collect();
        labels.sort_unstable();
        let new = self.builder.labels(LabelSet {
            labels: labels.into(),
            goroutine: None,
        });
        self.labels.insert(index, new);
        new
    }
}
