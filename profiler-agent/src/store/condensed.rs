//! A profile of frames ([`Merger::of_frames`](crate::profile::Merger::of_frames)) as bytes.
//!
//! One version byte (2), the length of what follows before compression (LEB128), a zstd frame, then the check value of
//! [`seal`](super::seal). In the frame are LEB128 numbers, each list with its length in front:
//! start and end in ns since 1970 (the end as a difference), kind (its name), period in ns (0: none); the distinct texts; processes (pid, comm,
//! executable, 1 for kernel threads); threads (process, name); functions (name, file); mappings (file); locations (mapping
//! plus one or 0, frame type, 1 where it has a name, address, functions); sets of labels (keys and values); stacks
//! (how many outermost frames are those of the stack before, the others from the outermost on); samples (thread,
//! stack, labels, count, value). Texts are meant by their index. A span of version 1 is merged anew.
//!
//! Beside pprof it is read in a fraction of the time, and keeps apart processes of one pid that have different names.

use std::sync::Arc;

use super::leb128::{Reader, number, text};
use super::seal::{seal, unseal};
use crate::profile::distinct::Distinct;
use crate::profile::{
    BootTime, FrameType, Function, FunctionIndex, Label, LabelSet, LabelSetIndex, LineEntry,
    Location, LocationIndex, Losses, Mapping, MappingIndex, Occurrences, Process, ProcessKey,
    Profile, ProfileKind, ProfileSample, SampleKind, SamplePeriod, StackIndex, Stacks, Thread,
    ThreadIndex, UnixTime,
};

const VERSION: u8 = 2;
/// Most bytes before compression: more than what may be merged takes.
const MAX_RAW: u64 = 32 << 20;
/// Fast, and within a tenth of the best.
const ZSTD_LEVEL: i32 = 3;

/// The profile as bytes; `None` where it is too long.
pub(super) fn encode(profile: &Profile) -> Option<Vec<u8>> {
    let mut texts = Distinct::default();
    let mut body = Vec::new();
    tables(profile, &mut texts, &mut body);
    stacks(profile, &mut body);
    samples(profile, &mut body);
    let mut raw = Vec::with_capacity(body.len());
    number(&mut raw, profile.start.0);
    number(&mut raw, profile.end.0.saturating_sub(profile.start.0));
    text(&mut raw, profile.kind.kind.name());
    let period = profile.kind.period.map_or(0, SamplePeriod::nanoseconds);
    number(&mut raw, period);
    let texts = texts.into_values();
    number(&mut raw, texts.len() as u64);
    for found in &texts {
        text(&mut raw, found);
    }
    raw.extend(body);
    if raw.len() as u64 > MAX_RAW {
        return None;
    }
    let mut out = vec![VERSION];
    number(&mut out, raw.len() as u64);
    out.extend(zstd::bulk::compress(&raw, ZSTD_LEVEL).ok()?);
    seal(&mut out);
    Some(out)
}

fn tables(profile: &Profile, texts: &mut Distinct<Box<str>>, out: &mut Vec<u8>) {
    let mut index = |text: &str| u64::from(texts.intern_str(text));
    number(out, profile.processes.len() as u64);
    for process in &profile.processes {
        let (comm, executable) = (index(&process.comm), index(&process.executable));
        for value in [
            process.key.pid.into(),
            comm,
            executable,
            process.kernel.into(),
        ] {
            number(out, value);
        }
    }
    number(out, profile.threads.len() as u64);
    for thread in &profile.threads {
        number(out, thread.process.into());
        number(out, index(&thread.name));
    }
    number(out, profile.functions.len() as u64);
    for function in &profile.functions {
        number(out, index(&function.name));
        number(out, index(&function.file));
    }
    number(out, profile.mappings.len() as u64);
    for mapping in &profile.mappings {
        number(out, index(&mapping.file));
    }
    number(out, profile.locations.len() as u64);
    for location in &profile.locations {
        number(
            out,
            location.mapping.map_or(0, |index| u64::from(index.0) + 1),
        );
        number(out, index(location.frame_type.name()));
        number(out, location.named.into());
        number(out, location.address);
        number(out, location.lines.len() as u64);
        for line in &location.lines {
            number(out, line.function.0.into());
        }
    }
    number(out, profile.label_sets.len() as u64);
    for set in &profile.label_sets {
        number(out, set.labels.len() as u64);
        for label in &set.labels {
            number(out, index(&label.key));
            number(out, index(&label.value));
        }
    }
}

fn stacks(profile: &Profile, out: &mut Vec<u8>) {
    number(out, profile.stacks.len() as u64);
    let mut before: &[LocationIndex] = &[];
    for index in 0..profile.stacks.len() {
        let stack = profile.stacks.get(StackIndex(index as u32));
        let outermost = stack.iter().rev().zip(before.iter().rev());
        let shared = outermost
            .take_while(|(frame, other)| frame == other)
            .count();
        number(out, shared as u64);
        number(out, (stack.len() - shared) as u64);
        for location in stack.iter().rev().skip(shared) {
            number(out, location.0.into());
        }
        before = stack;
    }
}

fn samples(profile: &Profile, out: &mut Vec<u8>) {
    number(out, profile.samples.len() as u64);
    for sample in &profile.samples {
        let (thread, stack, labels) = (sample.thread.0, sample.stack.0, sample.labels.0);
        let key = [thread, stack, labels].map(u64::from);
        for value in key.into_iter().chain([sample.count, sample.value]) {
            number(out, value);
        }
    }
}

/// The profile that `bytes` hold; `None` when they are damaged, or of another version.
pub(super) fn decode(bytes: &[u8]) -> Option<Profile> {
    let mut sealed = Reader(unseal(bytes)?);
    if sealed.byte()? != VERSION {
        return None;
    }
    let length = usize::try_from(sealed.count(MAX_RAW)?).ok()?;
    let raw = zstd::bulk::decompress(sealed.0, length).ok()?;
    let mut reader = Reader(&raw);
    let start = reader.number()?;
    let end = start.checked_add(reader.number()?)?;
    let kind = ProfileKind::from_name(reader.text()?)?;
    let period = Some(reader.number()?).filter(|period| *period > 0);
    let period = period.map(SamplePeriod::from_nanoseconds);
    let texts = list(&mut reader, |reader| Some(Arc::<str>::from(reader.text()?)))?;
    let mut tables = Tables { reader, texts };
    let processes = tables.list(Tables::process)?;
    let threads = tables.list(|tables| {
        Some(Thread {
            process: tables.index(processes.len())?,
            tid: 0,
            name: tables.text()?,
        })
    })?;
    let functions = tables.list(Tables::function)?;
    let mappings = tables.list(Tables::mapping)?;
    let locations = tables.list(|tables| tables.location(mappings.len(), functions.len()))?;
    let label_sets = tables.list(Tables::label_set)?;
    let stacks = tables.stacks(locations.len())?;
    let samples = tables.list(|tables| {
        Some(ProfileSample {
            thread: ThreadIndex(tables.index(threads.len())?),
            stack: StackIndex(tables.index(stacks.len())?),
            labels: LabelSetIndex(tables.index(label_sets.len())?),
            link: None,
            count: tables.reader.number()?,
            value: tables.reader.number()?,
            occurrences: Occurrences::default(),
        })
    })?;
    tables.reader.0.is_empty().then(|| Profile {
        start: UnixTime(start),
        end: UnixTime(end),
        kind: SampleKind { kind, period },
        processes,
        threads,
        functions,
        mappings,
        locations,
        stacks,
        label_sets,
        samples,
        outcomes: Vec::new(),
        losses: Losses::default(),
    })
}

/// A list with its length in front. An element takes at least a byte.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    mut element: impl FnMut(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = reader.count(reader.0.len() as u64)?;
    (0..count).map(|_| element(reader)).collect()
}

struct Tables<'a> {
    reader: Reader<'a>,
    texts: Vec<Arc<str>>,
}

impl Tables<'_> {
    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.reader.count(self.reader.0.len() as u64)?;
        (0..count).map(|_| element(self)).collect()
    }

    /// An index into a table of this length.
    fn index(&mut self, length: usize) -> Option<u32> {
        let index = self.reader.number()?;
        (index < length as u64).then_some(index as u32)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let index = self.index(self.texts.len())?;
        Some(Arc::clone(&self.texts[index as usize]))
    }

    fn truth(&mut self) -> Option<bool> {
        Some(self.reader.count(1)? == 1)
    }

    fn process(&mut self) -> Option<Arc<Process>> {
        let pid = u32::try_from(self.reader.number()?).ok()?;
        Some(Arc::new(Process {
            key: ProcessKey {
                pid,
                started: BootTime(0),
            },
            parent: 0,
            comm: (*self.text()?).into(),
            executable: (*self.text()?).into(),
            cgroup: "".into(),
            container: None,
            kernel: self.truth()?,
            resource: Arc::default(),
        }))
    }

    fn function(&mut self) -> Option<Function> {
        let name = self.text()?;
        Some(Function {
            system_name: Arc::clone(&name),
            name,
            file: self.text()?,
            start_line: 0,
        })
    }

    fn mapping(&mut self) -> Option<Mapping> {
        Some(Mapping {
            file: self.text()?,
            memory_start: 0,
            memory_limit: 0,
            file_offset: 0,
            build_id: None,
            htl_hash: None,
        })
    }

    fn location(&mut self, mappings: usize, functions: usize) -> Option<Location> {
        let mapping = self.index(mappings + 1)?;
        let frame_type = FrameType::from_name(&self.text()?)?;
        let named = self.truth()?;
        let address = self.reader.number()?;
        let lines = self.list(|tables| {
            Some(LineEntry {
                function: FunctionIndex(tables.index(functions)?),
                line: 0,
                column: 0,
            })
        })?;
        Some(Location {
            mapping: mapping.checked_sub(1).map(MappingIndex),
            address,
            lines: lines.into(),
            frame_type,
            named,
        })
    }

    fn label_set(&mut self) -> Option<LabelSet> {
        let labels = self.list(|tables| {
            Some(Label {
                key: tables.text()?,
                value: tables.text()?,
            })
        })?;
        Some(LabelSet {
            labels: labels.into(),
            goroutine: None,
        })
    }

    fn stacks(&mut self, locations: usize) -> Option<Stacks> {
        let mut stacks = Stacks::default();
        let mut outermost_first: Vec<LocationIndex> = Vec::new();
        let mut leaf_first = Vec::new();
        for _ in 0..self.reader.count(self.reader.0.len() as u64)? {
            let shared = self.reader.count(outermost_first.len() as u64)?;
            outermost_first.truncate(shared as usize);
            for _ in 0..self.reader.count(self.reader.0.len() as u64)? {
                outermost_first.push(LocationIndex(self.index(locations)?));
            }
            leaf_first.clear();
            leaf_first.extend(outermost_first.iter().rev());
            // What is shared takes no bytes: damaged or not, all stacks stay within a bound.
            if stacks.frame_count() + leaf_first.len() > MAX_RAW as usize {
                return None;
            }
            stacks.push(&leaf_first);
        }
        Some(stacks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode, list};
    use crate::profile::example::{any_profile, example};
    use crate::profile::{BootTime, Merger, Profile, StackIndex};

    fn frames_of(profile: &Profile) -> Profile {
        let mut merger = Merger::of_frames();
        merger.add(profile, |_| true);
        merger.finish()
    }

    /// All that is kept, in words; how processes are told apart is no part of it.
    fn told(profile: &Profile) -> String {
        let stacks = (0..profile.stacks.len() as u32).map(|n| profile.stacks.get(StackIndex(n)));
        let stacks: Vec<_> = stacks.collect();
        let mut processes = profile.processes.clone();
        for process in &mut processes {
            std::sync::Arc::make_mut(process).key.started = BootTime(0);
        }
        let Profile {
            start,
            end,
            kind,
            threads,
            functions,
            mappings,
            locations,
            label_sets,
            samples,
            losses,
            ..
        } = profile;
        format!(
            "{start:?} {end:?} {kind:?} {processes:#?} {threads:#?} {functions:#?} {mappings:#?} {locations:#?} \
             {stacks:?} {label_sets:#?} {samples:#?} {losses:?}"
        )
    }

    #[test]
    fn what_differs_from_request_to_request_is_left_out() {
        let frames = decode(&encode(&frames_of(&example())).unwrap()).unwrap();
        assert_eq!(frames.sample_count(), example().sample_count());
        assert!(frames.samples.iter().all(|sample| sample.link.is_none()));
        assert!(frames.label_sets.iter().all(|set| set.goroutine.is_none()));
        assert_eq!(frames.label_sets.len(), 2);
        assert!(
            frames
                .locations
                .iter()
                .all(|location| location.address == 0)
        );
    }

    #[test]
    fn an_empty_profile_is_one() {
        let none = Merger::of_frames().finish();
        assert_eq!(told(&decode(&encode(&none).unwrap()).unwrap()), told(&none));
    }

    #[test]
    fn a_list_longer_than_its_bytes_is_none() {
        let mut reader = super::Reader(&[200, 1, 7]);
        assert!(list(&mut reader, super::Reader::byte).is_none());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(profile in any_profile(5_000, true)) {
            let frames = frames_of(&profile);
            let bytes = encode(&frames).unwrap();
            prop_assert_eq!(told(&decode(&bytes).unwrap()), told(&frames));
        }

        #[test]
        fn a_damaged_one_is_none(
            profile in any_profile(5_000, true),
            place in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            let mut bytes = encode(&frames_of(&profile)).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            prop_assert!(decode(&bytes).is_none());
        }

        /// Bytes that have their check value and still make no sense.
        #[test]
        fn any_content_is_survived(
            profile in any_profile(5_000, true),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let whole = encode(&frames_of(&profile)).unwrap();
            let mut sealed = super::Reader(super::unseal(&whole).unwrap());
            sealed.byte().unwrap();
            let length = sealed.number().unwrap() as usize;
            let mut raw = zstd::bulk::decompress(sealed.0, length).unwrap();
            for (place, byte) in changes {
                let place = place.index(raw.len());
                raw[place] = byte;
            }
            let mut bytes = vec![super::VERSION];
            super::number(&mut bytes, raw.len() as u64);
            bytes.extend(zstd::bulk::compress(&raw, 1).unwrap());
            super::seal(&mut bytes);
            if let Some(decoded) = decode(&bytes) {
                // What is decoded refers to nothing that is not there.
                let _ = frames_of(&decoded);
            }
        }
    }
}
