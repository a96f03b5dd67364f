//! A profile as export requests.

use std::ops::Range;

use hashbrown::HashMap;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::profiles::v1development as proto;
use prost::Message;

use super::dictionary::Dictionary;
use super::options::{Options, Shape};
use super::resource::{Group, groups, resource};
use super::{GOROUTINE_ID, LABEL_PREFIX, PROCESS_PID, THREAD_ID, THREAD_NAME};
use crate::export::compress::compressed;
use crate::profile::{
    Coding, Label, LocationIndex, Payload, PayloadId, Profile, ProfileSample, StackIndex,
    THREAD_STATE, UnixTime, WindowUuid,
};

/// The profile as requests below `options.max_bytes`; none where it has no samples.
#[must_use]
pub fn encode(profile: &Profile, window: WindowUuid, options: &Options) -> Vec<Payload> {
    let encoder = Encoder::new(profile, window, options);
    let mut payloads = Vec::new();
    let parts = encoder.parts();
    if !parts.is_empty() {
        encoder.encode_below_limit(parts, &mut payloads);
    }
    payloads
}

/// The profile as one request of any size, for a file, in which its start names it.
#[must_use]
pub fn encode_one(profile: &Profile, options: &Options) -> Payload {
    let encoder = Encoder::new(profile, WindowUuid::new(profile.start, 0), options);
    encoder.compress(encoder.payload(&encoder.parts(), 0))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Some occurrences of one of the profile's samples.
#[derive(Clone)]
struct Part {
    group: u32,
    sample: usize,
    occurrences: Range<u64>,
}

struct Encoder<'a> {
    profile: &'a Profile,
    window: WindowUuid,
    options: &'a Options,
    shape: Shape,
    groups: Vec<Group>,
    group_of_process: Vec<u32>,
}

impl<'a> Encoder<'a> {
    fn new(profile: &'a Profile, window: WindowUuid, options: &'a Options) -> Self {
        let (groups, group_of_process) = groups(profile, options.grouping);
        let timed = profile
            .samples
            .iter()
            .all(|sample| sample.occurrences.len() as u64 == sample.count);
        Self {
            profile,
            window,
            options,
            shape: if timed { options.shape } else { Shape::Values },
            groups,
            group_of_process,
        }
    }

    /// All of the profile, in order of group.
    fn parts(&self) -> Vec<Part> {
        let samples = self.profile.samples.iter().enumerate();
        let part = |(index, sample): (usize, &crate::profile::ProfileSample)| {
            let thread = &self.profile.threads[sample.thread.0 as usize];
            Part {
                group: self.group_of_process[thread.process as usize],
                sample: index,
                occurrences: 0..sample.count,
            }
        };
        let mut parts: Vec<_> = samples
            .map(part)
            .filter(|part| !part.occurrences.is_empty())
            .collect();
        parts.sort_by_key(|part| part.group);
        parts
    }

    /// Encodes `parts`, in halves (of halves ..) where the whole is too large.
    fn encode_below_limit(&self, mut parts: Vec<Part>, payloads: &mut Vec<Payload>) {
        let payload = self.payload(&parts, payloads.len() as u32);
        if payload.bytes.len() <= self.options.max_bytes {
            return payloads.push(self.compress(payload));
        }
        let second = match parts.as_mut_slice() {
            [part] => match self.split_occurrences(part) {
                Some(rest) => vec![rest],
                None => return payloads.push(self.compress(payload)),
            },
            _ => parts.split_off(parts.len() / 2),
        };
        drop(payload);
        self.encode_below_limit(parts, payloads);
        self.encode_below_limit(second, payloads);
    }

    /// Takes half of the occurrences where each one has its own bytes.
    fn split_occurrences(&self, part: &mut Part) -> Option<Part> {
        let Range { start, end } = part.occurrences;
        if self.shape == Shape::Values || end - start < 2 {
            return None;
        }
        let middle = start + (end - start) / 2;
        part.occurrences = start..middle;
        Some(Part {
            occurrences: middle..end,
            ..part.clone()
        })
    }

    fn compress(&self, payload: Payload) -> Payload {
        let coding = self.options.coding;
        Payload {
            coding,
            bytes: compressed(payload.bytes, coding),
            ..payload
        }
    }

    /// Not compressed.
    fn payload(&self, parts: &[Part], number: u32) -> Payload {
        let bytes = self.request(parts, number).encode_to_vec();
        Payload {
            id: PayloadId {
                window: self.window,
                part: number,
            },
            start: self.profile.start,
            end: self.profile.end,
            samples: parts
                .iter()
                .map(|part| part.occurrences.end - part.occurrences.start)
                .sum(),
            coding: Coding::Identity,
            raw_length: bytes.len() as u64,
            bytes,
        }
    }

    fn request(&self, parts: &[Part], number: u32) -> ExportProfilesServiceRequest {
        let mut dictionary = Dictionary::new(self.profile);
        self.intern_locations(parts, &mut dictionary);
        let resource_profiles = parts
            .chunk_by(|a, b| a.group == b.group)
            .map(|parts| self.resource_profiles(parts, number, &mut dictionary))
            .collect();
        ExportProfilesServiceRequest {
            resource_profiles,
            dictionary: Some(dictionary.finish()),
        }
    }

    /// Adds the locations that `parts` need to the dictionary, those in most stacks first: small
    /// numbers are short on the wire.
    fn intern_locations(&self, parts: &[Part], dictionary: &mut Dictionary<'_>) {
        let mut stack_seen = vec![false; self.profile.stacks.len()];
        let mut uses = vec![0u32; self.profile.locations.len()];
        for part in parts {
            let StackIndex(stack) = self.profile.samples[part.sample].stack;
            if !std::mem::replace(&mut stack_seen[stack as usize], true) {
                for location in self.profile.stacks.get(StackIndex(stack)) {
                    uses[location.0 as usize] += 1;
                }
            }
        }
        let mut used: Vec<u32> = (0..uses.len() as u32)
            .filter(|index| uses[*index as usize] > 0)
            .collect();
        used.sort_by_key(|index| std::cmp::Reverse(uses[*index as usize]));
        for index in used {
            dictionary.location(LocationIndex(index));
        }
    }

    fn resource_profiles(
        &self,
        parts: &[Part],
        number: u32,
        dictionary: &mut Dictionary<'_>,
    ) -> proto::ResourceProfiles {
        let group_number = parts[0].group;
        let group = &self.groups[group_number as usize];
        let mut profile = self.proto_profile(parts, group, dictionary);
        // Each group has at most one profile in each payload.
        let profile_number = (self.groups.len() as u32)
            .wrapping_mul(number)
            .wrapping_add(group_number);
        profile.profile_id = self.window.profile(profile_number).to_vec();
        proto::ResourceProfiles {
            resource: Some(resource(self.profile, group, self.options)),
            scope_profiles: vec![proto::ScopeProfiles {
                scope: Some(InstrumentationScope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..Default::default()
                }),
                profiles: vec![profile],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }
    }

    fn proto_profile(
        &self,
        parts: &[Part],
        group: &Group,
        dictionary: &mut Dictionary<'_>,
    ) -> proto::Profile {
        let profile = self.profile;
        let samples = self.samples(parts, group, dictionary);
        let kind = profile.kind.kind;
        let measured = proto::ValueType {
            type_strindex: dictionary.string(kind.name()),
            unit_strindex: dictionary.string(kind.unit()),
        };
        // Of periodic samples the number is told, of others what they stand for, without a period: so receivers know them.
        let (sample_type, period_type, period) = match profile.kind.period {
            Some(period) => {
                let samples = proto::ValueType {
                    type_strindex: dictionary.string("samples"),
                    unit_strindex: dictionary.string("count"),
                };
                (samples, Some(measured), period.nanoseconds())
            }
            None => (measured, None, 0),
        };
        proto::Profile {
            sample_type: Some(sample_type),
            samples,
            time_unix_nano: profile.start.0,
            duration_nano: profile.end.0.saturating_sub(profile.start.0).max(1),
            period_type,
            period: signed(period),
            ..Default::default()
        }
    }

    /// The samples of one profile: what has the same stack, attributes and link is one.
    fn samples(
        &self,
        parts: &[Part],
        group: &Group,
        dictionary: &mut Dictionary<'_>,
    ) -> Vec<proto::Sample> {
        let profile = self.profile;
        let last = profile.end.0.saturating_sub(1).max(profile.start.0);
        let counts = profile.kind.period.is_some();
        let mut indices = HashMap::new();
        let mut samples: Vec<proto::Sample> = Vec::new();
        let mut taken: Vec<Vec<(u64, u64)>> = Vec::new();
        for part in parts {
            let sample = &profile.samples[part.sample];
            let key = (
                dictionary.stack(sample.stack),
                self.attributes(sample, group, dictionary),
                dictionary.link(sample.link.as_ref()),
            );
            let index = *indices.entry(key).or_insert_with_key(|key| {
                samples.push(proto::Sample {
                    stack_index: key.0,
                    attribute_indices: key.1.clone(),
                    link_index: key.2,
                    ..Default::default()
                });
                taken.push(Vec::new());
                samples.len() - 1
            });
            let Range { start, end } = part.occurrences;
            match self.shape {
                Shape::Timestamps => {
                    let some = sample.occurrences.iter();
                    let some = some.skip(start as usize).take((end - start) as usize);
                    let within = |(time, value): (UnixTime, u64)| {
                        (time.0.clamp(profile.start.0, last), value)
                    };
                    taken[index].extend(some.map(within));
                }
                Shape::Values => {
                    let value = signed(sample.value / profile.kind.quantum());
                    match samples[index].values.first_mut() {
                        Some(sum) => *sum = sum.saturating_add(value),
                        None => samples[index].values.push(value),
                    }
                }
            }
        }
        for (sample, mut taken) in samples.iter_mut().zip(taken) {
            taken.sort_unstable();
            sample.timestamps_unix_nano = taken.iter().map(|(time, _)| *time).collect();
            // A time without a value counts one.
            if !counts {
                let values = taken.iter().map(|(_, value)| signed(*value));
                sample.values.extend(values);
            }
        }
        samples
    }

    fn attributes(
        &self,
        sample: &ProfileSample,
        group: &Group,
        dictionary: &mut Dictionary<'_>,
    ) -> Vec<i32> {
        let mut attributes = Vec::new();
        if self.options.threads {
            let thread = &self.profile.threads[sample.thread.0 as usize];
            attributes.push(dictionary.number_attribute(THREAD_ID, i64::from(thread.tid)));
            if !thread.name.is_empty() {
                attributes.push(dictionary.text_attribute(THREAD_NAME, &thread.name));
            }
            if group.shared {
                let process = &self.profile.processes[thread.process as usize];
                let pid = i64::from(process.key.pid);
                attributes.push(dictionary.number_attribute(PROCESS_PID, pid));
            }
        }
        let set = &self.profile.label_sets[sample.labels.0 as usize];
        for Label { key, value } in &set.labels {
            attributes.push(match &**key {
                THREAD_STATE => dictionary.text_attribute(THREAD_STATE, value),
                key => dictionary.text_attribute(&format!("{LABEL_PREFIX}{key}"), value),
            });
        }
        if let Some(goroutine) = set.goroutine.filter(|_| self.options.goroutines) {
            let goroutine = i64::try_from(goroutine).unwrap_or(i64::MAX);
            attributes.push(dictionary.number_attribute(GOROUTINE_ID, goroutine));
        }
        attributes
    }
}
