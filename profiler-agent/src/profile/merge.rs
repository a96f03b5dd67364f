//! Several profiles as one, and a part of a profile.

use std::ops::Range;
use std::sync::Arc;

use super::builder::{ProfileBuilder, SampleKey};
use super::distinct::Distinct;
use super::frames::{self, FrameProcess};
use super::{
    FunctionIndex, LabelSetIndex, LineEntry, Location, LocationIndex, MappingIndex, Occurrences,
    Profile, ProfileSample, SampleKind, SamplePeriod, StackIndex, Thread, ThreadIndex, UnixTime,
};

/// All samples of all `profiles`, from the earliest start to the latest end; what is equal in several
/// of them is there once. Only what a sample refers to is kept.
///
/// Values are added up as they are, so that samples that were taken at different rates keep their time; the period is
/// that of the first profile. Different kinds of time are wall-clock time together. No profiles make an empty
/// profile of CPU time with a period of one second.
#[must_use]
pub fn merge<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> Profile {
    let mut merger = Merger::default();
    for profile in profiles {
        merger.add(profile, |_| true);
    }
    merger.finish()
}

/// Several profiles that become one while they come, as [`merge`] does: each can be dropped when it is added.
#[derive(Debug, Default)]
pub struct Merger {
    builder: ProfileBuilder,
    bounds: Option<(UnixTime, UnixTime, SampleKind)>,
    detail: Detail,
    /// What is told apart of processes where only frames are kept.
    processes: Distinct<FrameProcess>,
}

/// How much of a sample is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Detail {
    /// All of it.
    #[default]
    Everything,
    /// All but when it was taken.
    WithoutTimes,
    /// What [`frames`] keeps.
    Frames,
}

impl Merger {
    /// Leaves out when samples were taken.
    #[must_use]
    pub fn without_times() -> Self {
        Self {
            detail: Detail::WithoutTimes,
            ..Self::default()
        }
    }

    /// Keeps what flame graphs are made of, and nothing that differs from request to request or from address to
    /// address: functions without lines, threads by their name, labels without goroutine, no links, no times, no
    /// losses. What is left of many profiles is little more than of one.
    #[must_use]
    pub fn of_frames() -> Self {
        Self {
            detail: Detail::Frames,
            ..Self::default()
        }
    }

    /// Adds the samples that `keep` wants, and what [`filter`] keeps beside them.
    pub fn add(&mut self, profile: &Profile, keep: impl Fn(&ProfileSample) -> bool) {
        let (start, end, kind) =
            *self
                .bounds
                .get_or_insert((profile.start, profile.end, profile.kind));
        let kind = kind.and(profile.kind);
        self.bounds = Some((start.min(profile.start), end.max(profile.end), kind));
        let unknown = Occurrences::default();
        let mut source = Source::new(profile);
        if self.detail == Detail::Frames {
            source.processes_of_frames = Some(&mut self.processes);
        }
        for sample in profile.samples.iter().filter(|sample| keep(sample)) {
            let key = source.add(&mut self.builder, sample);
            let occurrences = match self.detail {
                Detail::Everything => &sample.occurrences,
                Detail::WithoutTimes | Detail::Frames => &unknown,
            };
            self.builder
                .sample(key, (sample.count, sample.value), occurrences);
        }
        if self.detail != Detail::Frames {
            source.outcomes(&mut self.builder);
            self.builder.losses(&profile.losses);
        }
    }

    /// About the bytes of memory that it takes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.builder.bytes()
    }

    /// The profile.
    #[must_use]
    pub fn finish(self) -> Profile {
        let none = SampleKind::on_cpu(SamplePeriod::from_hertz(1));
        let none = (UnixTime(0), UnixTime(0), none);
        let (start, end, kind) = self.bounds.unwrap_or(none);
        self.builder.finish(start, end, kind)
    }
}

/// The samples that `keep` wants, taken within `range` (`None`: at any time). A
/// sample without times counts as taken at the profile's start. Losses, which belong to no thread, and
/// the outcomes of the processes that are left stay whole.
#[must_use]
pub fn filter(
    profile: &Profile,
    range: Option<&Range<UnixTime>>,
    keep: impl Fn(&ProfileSample) -> bool,
) -> Profile {
    let mut builder = ProfileBuilder::default();
    let mut source = Source::new(profile);
    for sample in &profile.samples {
        if !keep(sample) {
            continue;
        }
        let whole = match range {
            None => true,
            Some(range) => sample.occurrences.is_empty() && range.contains(&profile.start),
        };
        if whole && sample.count > 0 {
            let key = source.add(&mut builder, sample);
            builder.sample(key, (sample.count, sample.value), &sample.occurrences);
        } else if let Some(range) = range {
            let within = sample.occurrences.iter();
            let within = within.filter(|(time, _)| range.contains(time));
            let within: Occurrences<UnixTime> = within.collect();
            if !within.is_empty() {
                let key = source.add(&mut builder, sample);
                builder.taken(key, &within);
            }
        }
    }
    source.outcomes(&mut builder);
    builder.losses(&profile.losses);
    let (start, end) = match range {
        None => (profile.start, profile.end),
        Some(range) => {
            let start = profile.start.max(range.start).min(profile.end);
            (start, profile.end.min(range.end).max(start))
        }
    };
    builder.finish(start, end, profile.kind)
}

/// A profile that is being added to a builder, and what of it is there already.
struct Source<'a> {
    profile: &'a Profile,
    processes: Vec<Option<u32>>,
    threads: Vec<Option<ThreadIndex>>,
    functions: Vec<Option<FunctionIndex>>,
    mappings: Vec<Option<MappingIndex>>,
    locations: Vec<Option<LocationIndex>>,
    stacks: Vec<Option<StackIndex>>,
    label_sets: Vec<Option<LabelSetIndex>>,
    scratch: Vec<LocationIndex>,
    /// Where only frames are kept: the processes that are told apart.
    processes_of_frames: Option<&'a mut Distinct<FrameProcess>>,
}

impl<'a> Source<'a> {
    fn new(profile: &'a Profile) -> Self {
        Self {
            profile,
            processes: vec![None; profile.processes.len()],
            threads: vec![None; profile.threads.len()],
            functions: vec![None; profile.functions.len()],
            mappings: vec![None; profile.mappings.len()],
            locations: vec![None; profile.locations.len()],
            stacks: vec![None; profile.stacks.len()],
            label_sets: vec![None; profile.label_sets.len()],
            scratch: Vec::new(),
            processes_of_frames: None,
        }
    }

    fn of_frames(&self) -> bool {
        self.processes_of_frames.is_some()
    }

    fn add(&mut self, builder: &mut ProfileBuilder, sample: &ProfileSample) -> SampleKey {
        SampleKey {
            thread: self.thread(builder, sample.thread),
            stack: self.stack(builder, sample.stack),
            labels: self.labels(builder, sample.labels),
            link: sample.link.filter(|_| !self.of_frames()),
        }
    }

    fn labels(&mut self, builder: &mut ProfileBuilder, index: LabelSetIndex) -> LabelSetIndex {
        let of_frames = self.of_frames();
        *self.label_sets[index.0 as usize].get_or_insert_with(|| {
            let set = &self.profile.label_sets[index.0 as usize];
            builder.labels(match of_frames {
                true => frames::label_set(set),
                false => set.clone(),
            })
        })
    }

    fn thread(&mut self, builder: &mut ProfileBuilder, index: ThreadIndex) -> ThreadIndex {
        if let Some(known) = self.threads[index.0 as usize] {
            return known;
        }
        let thread = &self.profile.threads[index.0 as usize];
        let process = *self.processes[thread.process as usize].get_or_insert_with(|| {
            let process = &self.profile.processes[thread.process as usize];
            builder.process(match &mut self.processes_of_frames {
                Some(distinct) => frames::process(process, distinct),
                None => Arc::clone(process),
            })
        });
        let tid = if self.of_frames() { 0 } else { thread.tid };
        let name = Arc::clone(&thread.name);
        let new = builder.thread(Thread { process, tid, name });
        self.threads[index.0 as usize] = Some(new);
        new
    }

    fn stack(&mut self, builder: &mut ProfileBuilder, index: StackIndex) -> StackIndex {
        if let Some(known) = self.stacks[index.0 as usize] {
            return known;
        }
        let mut stack = std::mem::take(&mut self.scratch);
        stack.clear();
        for location in self.profile.stacks.get(index) {
            stack.push(self.location(builder, *location));
        }
        let new = builder.stack(&stack);
        self.scratch = stack;
        self.stacks[index.0 as usize] = Some(new);
        new
    }

    fn location(&mut self, builder: &mut ProfileBuilder, index: LocationIndex) -> LocationIndex {
        if let Some(known) = self.locations[index.0 as usize] {
            return known;
        }
        let of_frames = self.of_frames();
        let location = &self.profile.locations[index.0 as usize];
        let mapping = location.mapping.map(|index| {
            *self.mappings[index.0 as usize].get_or_insert_with(|| {
                let mapping = &self.profile.mappings[index.0 as usize];
                builder.mapping(match of_frames {
                    true => frames::mapping(mapping),
                    false => mapping.clone(),
                })
            })
        });
        let lines = location.lines.iter().map(|line| {
            let function = *self.functions[line.function.0 as usize].get_or_insert_with(|| {
                let function = &self.profile.functions[line.function.0 as usize];
                builder.function(match of_frames {
                    true => frames::function(function),
                    false => function.clone(),
                })
            });
            match of_frames {
                true => frames::line(function),
                false => LineEntry { function, ..*line },
            }
        });
        let lines: Box<[LineEntry]> = lines.collect();
        // The address of a location without a function is its name.
        let address = match of_frames && !lines.is_empty() {
            true => 0,
            false => location.address,
        };
        let new = builder.location(Location {
            mapping,
            lines,
            address,
            ..*location
        });
        self.locations[index.0 as usize] = Some(new);
        new
    }

    /// Adds how the stacks of those processes ended that were added.
    fn outcomes(&self, builder: &mut ProfileBuilder) {
        for (outcomes, process) in self.profile.outcomes.iter().zip(&self.processes) {
            if let Some(process) = process {
                builder.outcomes(*process, outcomes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ProfileKind;
    use super::super::example::{Flat, any_profile, example, flatten};
    use super::*;

    fn sum(flats: &[Flat]) -> Flat {
        let mut sum = Flat::new();
        for (key, (count, value, taken)) in flats.iter().flatten() {
            let entry = sum.entry(key.clone()).or_default();
            entry.0 += count;
            entry.1 += value;
            entry.2.extend(taken);
            entry.2.sort_unstable();
        }
        sum
    }

    proptest! {
        #[test]
        fn a_merged_profile_has_the_samples_of_all(
            profiles in prop::collection::vec(any_profile(5_000, true), 0..4),
        ) {
            let flats: Vec<_> = profiles.iter().map(flatten).collect();
            prop_assert_eq!(flatten(&merge(&profiles)), sum(&flats));
        }

        #[test]
        fn parts_of_a_profile_make_the_whole(
            profile in any_profile(5_000, true), split in 4_000u64..7_000, pid in 0u32..6,
        ) {
            let start = UnixTime(0)..UnixTime(split);
            let end = UnixTime(split)..UnixTime(u64::MAX);
            let is_of = |sample: &ProfileSample| {
                let thread = &profile.threads[sample.thread.0 as usize];
                profile.processes[thread.process as usize].key.pid == pid
            };
            let parts = [
                filter(&profile, Some(&start), is_of),
                filter(&profile, Some(&end), is_of),
                filter(&profile, None, |sample| !is_of(sample)),
            ];
            for (part, range) in parts.iter().zip([&start, &end]) {
                let mut times = part.samples.iter().flat_map(|sample| sample.occurrences.times());
                prop_assert!(times.all(|time| range.contains(time)));
                prop_assert!(part.processes.iter().all(|process| process.key.pid == pid));
                prop_assert!(part.start <= part.end);
            }
            let whole = flatten(&profile);
            prop_assert_eq!(sum(&parts.each_ref().map(flatten)), whole.clone());
            prop_assert_eq!(flatten(&merge(&parts)), whole);
        }

        #[test]
        fn time_stays_what_it_is_at_any_rate_and_of_any_kind(
            profiles in prop::collection::vec((any_profile(5_000, true), any_profile(6_000, false)), 1..4),
        ) {
            let profiles: Vec<Profile> = profiles.into_iter().flat_map(|(one, other)| [one, other]).collect();
            let merged = merge(&profiles);
            prop_assert_eq!(merged.value(), profiles.iter().map(Profile::value).sum::<u64>());
            prop_assert_eq!(merged.sample_count(), profiles.iter().map(Profile::sample_count).sum::<u64>());
            let is_of = |kind| profiles.iter().all(|profile| profile.kind.kind == kind);
            let mut kinds = [ProfileKind::OnCpu, ProfileKind::OffCpu].into_iter();
            let only = kinds.find(|kind| is_of(*kind));
            prop_assert_eq!(merged.kind.kind, only.unwrap_or(ProfileKind::Wall));
            if only.is_some() {
                prop_assert_eq!(merged.kind, profiles[0].kind);
            }
        }
    }

    #[test]
    fn bounds_losses_and_outcomes_are_added_up() {
        let first = example();
        let mut second = example();
        second.start = UnixTime(1_500);
        second.end = UnixTime(3_000);
        let merged = merge([&first, &second]);
        assert_eq!(
            (merged.start, merged.end),
            (UnixTime(1_000), UnixTime(3_000))
        );
        assert_eq!(merged.losses.of(crate::profile::SampleLoss::RingFull), 6);
        assert_eq!(merged.outcomes[0].total(), 10);
        assert_eq!(merged.processes.len(), 3);
        assert_eq!(merged.samples.len(), first.samples.len());
    }

    #[test]
    fn frames_keep_what_processes_call_themselves() {
        use crate::profile::{AttributeValue, ResourceAttribute};
        let mut profile = example();
        let attribute = |key: &str, value: &str| ResourceAttribute {
            key: key.into(),
            value: AttributeValue::Text(value.into()),
        };
        for (number, process) in profile.processes.iter_mut().enumerate() {
            Arc::make_mut(process).resource = Arc::new([
                attribute("a", &number.to_string()),
                attribute("service.name", "shop"),
            ]);
        }
        let mut merger = Merger::of_frames();
        merger.add(&profile, |_| true);
        let frames = merger.finish();
        assert_eq!(frames.processes.len(), profile.processes.len());
        for process in &frames.processes {
            assert_eq!((process.service(), process.resource.len()), ("shop", 1));
        }
    }

    #[test]
    fn samples_without_times_belong_to_the_start() {
        let mut profile = example();
        profile
            .samples
            .iter_mut()
            .for_each(|sample| sample.occurrences = Occurrences::default());
        let before = UnixTime(0)..UnixTime(1_001);
        let after = UnixTime(1_001)..UnixTime(5_000);
        assert_eq!(filter(&profile, Some(&before), |_| true).sample_count(), 8);
        assert_eq!(filter(&profile, Some(&after), |_| true).sample_count(), 0);
    }

    #[test]
    fn nothing_merges_to_nothing() {
        assert_eq!(merge([]).sample_count(), 0);
    }
}
