//! Whatever the bytes are: a profile within the limits, or an error.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{ReadError, ReadLimits, frame_type_of, location_kind_of};
use crate::export::{otlp, pprof};
use crate::profile::example::{any_profile, example, flatten};
use crate::profile::{
    Label, LabelSet, LabelSetIndex, LocationIndex, Occurrences, Process, Profile, StackIndex,
    Thread, ThreadIndex,
};

fn otlp_file(profile: &Profile) -> Vec<u8> {
    let options = otlp::Options::file(otlp::Host::default());
    otlp::encode_one(profile, &options).bytes
}

/// What is left of a profile in a format that does not say what locations stand for.
fn with_inferred_kinds(mut profile: Profile) -> Profile {
    for location in &mut profile.locations {
        let mapping = location
            .mapping
            .map(|index| &profile.mappings[index.0 as usize]);
        let file = mapping.map(|mapping| &*mapping.file);
        let outermost = location.lines.last().unwrap();
        let function = &profile.functions[outermost.function.0 as usize];
        location.kind = location_kind_of(&function.name, file);
    }
    profile
}

fn as_pprof(profile: &Profile) -> Profile {
    let mut expected = with_inferred_kinds(profile.clone());
    expected
        .samples
        .iter_mut()
        .for_each(|sample| sample.occurrences = Occurrences::default());
    expected
        .mappings
        .iter_mut()
        .for_each(|mapping| mapping.htl_hash = None);
    for location in &mut expected.locations {
        let mapping = location
            .mapping
            .map(|index| &expected.mappings[index.0 as usize]);
        let outermost = location.lines.last().unwrap();
        let function = &expected.functions[outermost.function.0 as usize];
        location.frame_type = frame_type_of(mapping.map(|m| &*m.file), &function.file);
    }
    expected
}

fn as_otlp(profile: &Profile) -> Profile {
    let mut expected = profile.clone();
    for function in &mut expected.functions {
        if function.name.is_empty() {
            function.name = "[unknown]".into();
        }
    }
    with_inferred_kinds(expected)
}

/// What reading may merge: locations that differ only in what the format does not hold.
fn remade(profile: &Profile) -> Profile {
    crate::profile::merge([profile])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pprof_comes_back(profile in any_profile(1_000_000, true)) {
        let read = pprof::decode(&pprof::encode(&profile).unwrap(), &ReadLimits::default()).unwrap();
        prop_assert_eq!(flatten(&read), flatten(&remade(&as_pprof(&profile))));
        prop_assert_eq!((read.start, read.end), (profile.start, profile.end));
        prop_assert_eq!(read.kind, profile.kind);
        prop_assert_eq!(read.losses, profile.losses);
    }

    /// Samples that were taken at different rates are no multiple of one period.
    #[test]
    fn merged_profiles_keep_their_time_in_pprof(
        one in any_profile(1_000_000, true), other in any_profile(1_000_000, true),
    ) {
        let merged = crate::profile::merge([&one, &other]);
        let read = pprof::decode(&pprof::encode(&merged).unwrap(), &ReadLimits::default()).unwrap();
        prop_assert_eq!(read.value(), one.value() + other.value());
        prop_assert_eq!(read.sample_count(), merged.sample_count());
        prop_assert_eq!(read.kind.kind, merged.kind.kind);
    }

    #[test]
    fn otlp_comes_back(profile in any_profile(1_000_000, true)) {
        let read = otlp::decode(&otlp_file(&profile), &ReadLimits::default()).unwrap();
        prop_assert_eq!(flatten(&read), flatten(&remade(&as_otlp(&profile))));
        if !profile.samples.is_empty() {
            prop_assert_eq!((read.start, read.end), (profile.start, profile.end));
            prop_assert_eq!(read.kind, profile.kind);
        }
    }

    #[test]
    fn damaged_files_do_no_harm(
        profile in any_profile(1_000_000, true),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = Vec::new();
        let compressed = pprof::encode(&profile).unwrap();
        let mut stream = flate2::read::GzDecoder::new(compressed.as_slice());
        std::io::Read::read_to_end(&mut stream, &mut message).unwrap();
        for (mut bytes, decode) in [
            (message, pprof::decode as fn(&[u8], &ReadLimits) -> _),
            (compressed, pprof::decode),
            (otlp_file(&profile), otlp::decode),
        ] {
            for (position, value) in &damages {
                let position = position.index(bytes.len());
                bytes[position] = *value;
            }
            let limits = ReadLimits { bytes: 1 << 20, entries: 10_000, elements: 10_000 };
            for length in [bytes.len(), cut.index(bytes.len())] {
                if let Ok(read) = decode(&bytes[..length], &limits) {
                    // Whatever it became is consistent: every index is looked up.
                    flatten(&read);
                    let _ = read.sample_count();
                    pprof::encode(&read).unwrap();
                }
            }
        }
    }

    #[test]
    fn noise_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let limits = ReadLimits::default();
        let _ = pprof::decode(&bytes, &limits);
        let _ = otlp::decode(&bytes, &limits);
    }
}

#[test]
fn losses_survive_in_pprof() {
    let profile = example();
    let read = pprof::decode(&pprof::encode(&profile).unwrap(), &ReadLimits::default()).unwrap();
    assert_eq!(read.losses, profile.losses);
}

#[test]
fn times_and_build_ids_survive_in_otlp() {
    let profile = example();
    let read = otlp::decode(&otlp_file(&profile), &ReadLimits::default()).unwrap();
    assert_eq!(flatten(&read), flatten(&profile));
}

fn too_large(result: Result<Profile, ReadError>) -> &'static str {
    match result {
        Err(ReadError::TooLarge { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bombs_are_refused() {
    let limits = ReadLimits {
        bytes: 1 << 20,
        entries: 1_000,
        elements: 1_000,
    };
    let mut stream = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..8 {
        stream.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = stream.finish().unwrap();
    assert!(bomb.len() < 100_000);
    assert_eq!(too_large(pprof::decode(&bomb, &limits)), "bytes");
    // Two bytes each on the wire: an empty sample, string, mapping.
    assert_eq!(
        too_large(pprof::decode(&[0x12, 0].repeat(2_000), &limits)),
        "samples"
    );
    assert_eq!(
        too_large(pprof::decode(&[0x32, 0].repeat(2_000), &limits)),
        "entries"
    );
    assert_eq!(
        too_large(pprof::decode(&[0x1a, 0].repeat(2_000), &limits)),
        "entries"
    );
    // A location of empty lines.
    let location = [&[0x22, 0xa0, 0x1f][..], &[0x22, 0].repeat(2_000)].concat();
    assert_eq!(too_large(pprof::decode(&location, &limits)), "lines");
    // An OTLP dictionary of empty strings.
    let dictionary = [&[0x12, 0xa0, 0x1f][..], &[0x2a, 0].repeat(2_000)].concat();
    assert_eq!(too_large(otlp::decode(&dictionary, &limits)), "entries");
}

/// A text that a file has once, and refers to again and again.
#[test]
fn long_texts_count_as_often_as_they_are_used() {
    let long = "x".repeat(10_000);
    let limits = ReadLimits {
        bytes: 1 << 20,
        entries: 10_000,
        elements: 100_000,
    };
    for (which, change) in CHANGES.iter().enumerate() {
        for (count, is_read) in [(10, true), (500, false)] {
            let mut profile = example();
            change(&mut profile, &long, count);
            let files = [
                (
                    pprof::encode(&profile).unwrap(),
                    pprof::decode as fn(&[u8], &ReadLimits) -> _,
                ),
                (otlp_file(&profile), otlp::decode),
            ];
            for (file, decode) in files {
                match decode(&file, &limits) {
                    Ok(read) => assert!(is_read && read.samples.len() >= profile.samples.len()),
                    Err(error) => {
                        let said = error.to_string();
                        // OTLP has the path of a process in each resource.
                        let is_long = file.len() > limits.bytes
                            || said.starts_with("more than 1048576 bytes of long texts");
                        assert!(!is_read && is_long, "{which}: {said}");
                    }
                }
            }
        }
    }
}

/// Gives so many processes, files of locations without a name, functions and labels of `example` a text in common.
const CHANGES: [fn(&mut Profile, &str, u32); 3] = [
    |profile, long, count| {
        each_sample(profile, count, |profile, number| {
            let mut process = Process::clone(&profile.processes[0]);
            process.key.pid = number + 1_000;
            process.executable = long.into();
            profile.processes.push(Arc::new(process));
            let process = profile.processes.len() as u32 - 1;
            let thread = Thread {
                process,
                ..profile.threads[0].clone()
            };
            profile.threads.push(thread);
            profile.outcomes = Vec::new();
        });
    },
    |profile, long, count| {
        profile.mappings[0].file = long.into();
        each_sample(profile, count, |profile, number| {
            let mut location = profile.locations[0].clone();
            location.address = 0x2000 + u64::from(number);
            profile.locations.push(location);
            let index = LocationIndex(profile.locations.len() as u32 - 1);
            profile.stacks.push(&[index]);
        });
    },
    |profile, long, count| {
        each_sample(profile, count, |profile, number| {
            let label = |key: &str, value: &str| Label {
                key: key.into(),
                value: value.into(),
            };
            profile.label_sets.push(LabelSet {
                labels: [label("a", &number.to_string()), label("b", long)].into(),
                goroutine: None,
            });
        });
    },
];

/// As many samples, each of which refers to what was added last.
fn each_sample(profile: &mut Profile, count: u32, add: impl Fn(&mut Profile, u32)) {
    for number in 0..count {
        add(profile, number);
        let mut sample = profile.samples[0].clone();
        sample.thread = ThreadIndex(profile.threads.len() as u32 - 1);
        sample.stack = StackIndex(profile.stacks.len() as u32 - 1);
        sample.labels = LabelSetIndex(profile.label_sets.len() as u32 - 1);
        profile.samples.push(sample);
    }
}

#[test]
fn profiles_of_something_else_are_refused() {
    // Sample type inuse_space/bytes, as a heap profile has it.
    let strings = ["", "inuse_space", "bytes"];
    let mut message = vec![0x0a, 4, 0x08, 1, 0x10, 2];
    for text in strings {
        message.extend([0x32, text.len() as u8]);
        message.extend(text.as_bytes());
    }
    let error = pprof::decode(&message, &ReadLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a profile of time: its samples count inuse_space/bytes"
    );
}
