//! What is written is read, whatever it is; and whatever is read, is read within bounds.

use std::sync::Arc;

use profiler_common::unwind::Outcome;
use proptest::prelude::*;

use super::size::{self, MAX_MEMORY, Room};
use super::{decode, decode_body, encode, is_encoded, read, write};
use crate::profile::example::{any_profile, example};
use crate::profile::{
    AttributeValue, BootTime, BuildId, ContainerId, Degradation, FrameType, HtlHash, LocationIndex,
    LocationKind, Merger, Occurrences, Process, Profile, ResourceAttribute, SampleLoss, StackIndex,
    Stacks, UnixTime,
};
use crate::store::leb128::number;
use crate::store::seal::seal;

/// A generator of numbers (Knuth's MMIX), of all sizes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        let high = self.0 ^ self.0 >> 29;
        match self.0 >> 61 {
            0 => 0,
            1 => u64::MAX,
            size => high >> (size * 8),
        }
    }
    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 8) as usize % limit
    }
    fn bytes<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

fn amended(process: &mut Arc<Process>, random: &mut Random) {
    let process = Arc::make_mut(process);
    process.key.started = BootTime(random.next());
    process.parent = random.next() as u32;
    process.cgroup = format!("/slice/{}", random.below(3)).into();
    let value = |random: &mut Random| match random.below(3) {
        0 => AttributeValue::Text(random.next().to_string().into()),
        1 => AttributeValue::Integer(random.next().cast_signed()),
        _ => AttributeValue::Truth(random.below(2) == 0),
    };
    let attributes = (0..random.below(4)).map(|number| ResourceAttribute {
        key: format!("key{number}").into(),
        value: value(random),
    });
    process.resource = attributes.collect();
}

/// The profile with anything in it that a profile may have.
fn with_everything(mut profile: Profile, seed: u64) -> Profile {
    let random = &mut Random(seed);
    if random.below(2) == 0 {
        profile.end = UnixTime(random.next());
    }
    for process in &mut profile.processes {
        amended(process, random);
    }
    for function in &mut profile.functions {
        if random.below(2) == 0 {
            function.system_name = Arc::clone(&function.name);
        }
        function.start_line = random.next() as u32;
    }
    for mapping in &mut profile.mappings {
        mapping.memory_start = random.next();
        mapping.memory_limit = random.next();
        mapping.file_offset = random.next();
        let bytes: [u8; 64] = random.bytes();
        mapping.build_id = BuildId::new(&bytes[..random.below(65)]);
        mapping.htl_hash = (random.below(2) == 0).then(|| HtlHash(random.bytes()));
    }
    let frame_types = FrameType::ALL;
    for location in &mut profile.locations {
        location.address = random.next();
        location.frame_type = frame_types[random.below(frame_types.len())];
        location.kind = match random.below(3) {
            0 => LocationKind::Named,
            1 => LocationKind::Unnamed,
            _ => LocationKind::StackEnd(Outcome::ALL[random.below(Outcome::ALL.len())]),
        };
        for line in &mut location.lines {
            (line.line, line.column) = (random.next() as u32, random.next() as u32);
        }
        if random.below(5) == 0 {
            location.lines = Box::default();
        }
    }
    for set in &mut profile.label_sets {
        set.goroutine = (random.below(2) == 0).then(|| random.next());
    }
    for sample in &mut profile.samples {
        let times = sample.occurrences.times().to_vec();
        match random.below(5) {
            0 => sample.occurrences = Occurrences::equal(random.next(), times),
            1 => {
                let times = times.into_iter();
                sample.occurrences = times
                    .map(|_| (UnixTime(random.next()), random.next()))
                    .collect();
            }
            2 => sample.occurrences = Occurrences::default(),
            3 => (sample.count, sample.value) = (random.next() >> 24, random.next()),
            _ => {}
        }
    }
    for outcomes in &mut profile.outcomes {
        outcomes.add_many(
            Outcome::ALL[random.below(Outcome::ALL.len())],
            random.next() >> 25,
        );
    }
    if random.below(4) == 0 {
        profile.outcomes = Vec::new();
    }
    for cause in SampleLoss::ALL.iter().copied() {
        if random.below(9) == 0 {
            profile.losses.add(cause, random.next() >> 25);
        }
    }
    for cause in Degradation::ALL.iter().copied() {
        if random.below(9) == 0 {
            profile.losses.add(cause, random.next() >> 25);
        }
    }
    profile
}

fn read_back(profile: &Profile) -> Profile {
    decode(&encode(profile).unwrap()).unwrap()
}

#[test]
fn an_example_comes_back_whole() {
    assert_eq!(read_back(&example()), example());
    assert!(is_encoded(&encode(&example()).unwrap()));
    assert!(!is_encoded(&[0x1f, 0x8b]) && !is_encoded(&[]));
    let none = Merger::of_frames().finish();
    assert_eq!(read_back(&none), none);
}

#[test]
fn stacks_are_told_apart_by_all_of_their_frames() {
    let mut profile = example();
    let stacks: [&[u32]; 7] = [
        &[0, 1, 2],
        &[],
        &[1, 2],
        &[2],
        &[0, 1, 2],
        &[2, 2, 2],
        &[0, 2],
    ];
    profile.samples.clear();
    profile.stacks = Stacks::default();
    for stack in stacks {
        let stack: Vec<_> = stack.iter().copied().map(LocationIndex).collect();
        profile.stacks.push(&stack);
    }
    let read = read_back(&profile).stacks;
    for (index, stack) in (0..).zip(stacks) {
        let read: Vec<u32> = read.get(StackIndex(index)).iter().map(|l| l.0).collect();
        assert_eq!(read, stack);
    }
}

#[test]
fn names_of_later_versions_are_left_out() {
    let replaced = |from: &str, to: &str| {
        let mut body = write::body(&example());
        let place = body
            .windows(from.len())
            .rposition(|part| part == from.as_bytes());
        let place = place.unwrap();
        body[place..place + to.len()].copy_from_slice(to.as_bytes());
        decode_body(&body).unwrap()
    };
    let read = replaced("ring_full", "ring_fuII");
    assert_eq!(read.losses.of(SampleLoss::RingFull), 0);
    assert_eq!(read.losses.of(SampleLoss::WindowFull), 1);
    // The kind of the stack's end and the outcome of a process have one name.
    let read = replaced("truncated", "truncaTed");
    assert!(
        read.locations
            .iter()
            .all(|location| matches!(location.kind, LocationKind::Named | LocationKind::Unnamed))
    );
    assert!(
        read.outcomes
            .iter()
            .all(|counts| counts.of(Outcome::Truncated) == 0)
    );
    let read = replaced("rust", "ruby");
    assert_eq!(read.locations[0].frame_type, FrameType::Native);
}

/// A few bytes must not become many frames: what stacks share is not in them.
#[test]
fn frames_are_bounded() {
    let mut profile = example();
    profile.samples.clear();
    profile.stacks = Stacks::default();
    let deep = vec![LocationIndex(0); 2_000];
    for length in 0..=2_000 {
        profile.stacks.push(&deep[..length]);
    }
    let body = write::body(&profile);
    assert!(body.len() < 10_000);
    assert_eq!(decode_body(&body).unwrap(), profile);
    // The same stack again and again: 18 million frames.
    for _ in 0..8_000 {
        profile.stacks.push(&deep);
    }
    assert_eq!(encode(&profile), None);
    let body = write::body(&profile);
    assert!(body.len() < 40_000);
    assert!(decode_body(&body).is_none());
}

/// A body as a file that says `length` of it, whatever its bounds.
fn sealed(body: &[u8], length: u64) -> Vec<u8> {
    let mut file = vec![super::VERSION];
    number(&mut file, length);
    file.extend(zstd::bulk::compress(body, super::ZSTD_LEVEL).unwrap());
    seal(&mut file);
    file
}

/// Each process has texts of its own: a few bytes must not become many copies of a long one.
#[test]
fn copies_of_texts_are_bounded() {
    let long: Box<str> = "x".repeat(1 << 20).into();
    type Change = fn(&mut Process, &str);
    let changes: [Change; 4] = [
        |process, long| process.comm = long.into(),
        |process, long| process.executable = long.into(),
        |process, long| process.cgroup = long.into(),
        |process, long| process.container = Some(ContainerId(long.into())),
    ];
    for change in changes {
        let mut profile = example();
        profile.outcomes = Vec::new();
        let mut process = Process::clone(&profile.processes[0]);
        change(&mut process, &long);
        // One text of 1 MiB.
        profile.processes.push(Arc::new(process.clone()));
        assert_eq!(read_back(&profile), profile);
        // And 1,100 of it, which the profile at hand shares.
        profile.processes.resize(1_100, Arc::new(process));
        assert_eq!(encode(&profile), None);
        let body = write::body(&profile);
        let file = sealed(&body, body.len() as u64);
        assert!(file.len() < 20_000, "{}", file.len());
        assert!(decode(&file).is_none());
    }
}

/// Texts that compress well are many more in memory than in a file.
#[test]
fn texts_are_bounded() {
    // Empty ones: one byte each. Their number alone is too large.
    let count = MAX_MEMORY / 40;
    let mut body = Vec::new();
    number(&mut body, count);
    body.resize(body.len() + count as usize, 0);
    let file = sealed(&body, body.len() as u64);
    assert!(file.len() < 20_000, "{}", file.len());
    assert!(Room::new(MAX_MEMORY).take_texts(&body).is_none());
    assert!(decode(&file).is_none());
    // A file that says it is longer than it may be, or that is not as long as it says.
    let body = write::body(&example());
    for length in [super::MAX_RAW + 1, 1 << 40, u64::MAX, body.len() as u64 - 1] {
        assert!(decode(&sealed(&body, length)).is_none(), "{length}");
    }
    assert!(decode(&sealed(&body, body.len() as u64)).is_some());
}

/// A number may stand anywhere: nothing is allocated for rows that are not there.
#[test]
fn counts_of_what_is_not_there_are_refused() {
    let body = write::body(&example());
    for count in [1 << 40, u64::MAX] {
        let mut written = Vec::new();
        number(&mut written, count);
        let mut read = 0;
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed.splice(place..=place, written.iter().copied());
            read += u32::from(decode_body(&changed).is_some());
        }
        // Values, times and addresses may be large, tables may not.
        assert!(read > 0 && (read as usize) < body.len() / 2, "{read}");
        assert!(decode_body(&written).is_none());
    }
}

proptest! {
    /// Both sides count the same, or there would be profiles that are encoded and never decoded.
    #[test]
    fn the_room_of_both_sides_is_the_same(profile in any_profile(5_000, true), seed in any::<u64>()) {
        let profile = with_everything(profile, seed);
        let body = write::body(&profile);
        let mut room = Room::new(u64::MAX);
        size::take(&mut room, &profile, &body).unwrap();
        let taken = u64::MAX - room.left();
        prop_assert_eq!(read::profile(&body, Room::new(taken)), Some(profile));
        prop_assert_eq!(read::profile(&body, Room::new(taken - 1)), None);
    }

    #[test]
    fn what_is_written_is_read(profile in any_profile(5_000, true), seed in any::<u64>()) {
        prop_assert_eq!(&read_back(&profile), &profile);
        let profile = with_everything(profile, seed);
        prop_assert_eq!(read_back(&profile), profile);
    }

    #[test]
    fn a_damaged_one_is_none(
        profile in any_profile(5_000, true),
        place in any::<prop::sample::Index>(),
        change in 1u8..,
    ) {
        let mut bytes = encode(&profile).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        prop_assert!(decode(&bytes).is_none());
    }

    /// Bodies that are malformed behind a check value that is right.
    #[test]
    fn any_body_is_survived(
        profile in any_profile(5_000, true),
        seed in any::<u64>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = write::body(&with_everything(profile, seed));
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Some(decoded) = decode_body(&body) {
            // What is decoded refers to nothing that is not there, and is a profile like others.
            let mut merger = Merger::of_frames();
            merger.add(&decoded, |_| true);
            let _ = merger.finish();
            prop_assert_eq!(read_back(&decoded), decoded);
        }
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_body(&bytes);
        bytes.insert(0, super::VERSION);
        seal(&mut bytes);
        let _ = decode(&bytes);
    }
}
