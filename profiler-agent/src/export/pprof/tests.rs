//! What is written, by the message's own terms.

use std::io::Read;

use prost::Message;

use super::generated as proto;
use crate::profile::example::example;

fn written() -> proto::Profile {
    let bytes = super::encode(&example()).unwrap();
    let mut message = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut message)
        .unwrap();
    proto::Profile::decode(message.as_slice()).unwrap()
}

fn string(profile: &proto::Profile, index: i64) -> &str {
    &profile.string_table[index as usize]
}

#[test]
fn types_period_and_times() {
    let profile = written();
    let types: Vec<_> = profile
        .sample_type
        .iter()
        .chain(&profile.period_type)
        .map(|value| (string(&profile, value.r#type), string(&profile, value.unit)))
        .collect();
    let cpu = ("cpu", "nanoseconds");
    assert_eq!(types, [("samples", "count"), cpu, cpu]);
    assert_eq!(profile.period, 10_101_010);
    assert_eq!((profile.time_nanos, profile.duration_nanos), (1_000, 1_000));
    assert_eq!(profile.sample[0].value, [3, 30_303_030]);
    let comments: Vec<_> = profile
        .comment
        .iter()
        .map(|c| string(&profile, *c))
        .collect();
    assert_eq!(
        comments,
        [
            "losses: ring_full=3 window_full=1",
            "outcomes: no_user_stack=1 root=6 truncated=1"
        ]
    );
}

#[test]
fn labels_of_each_kind() {
    let profile = written();
    let labels = |sample: usize| -> Vec<String> {
        let show = |label: &proto::Label| {
            let key = string(&profile, label.key);
            match string(&profile, label.str) {
                "" => format!("{key}={}", label.num),
                text => format!("{key}={text}"),
            }
        };
        profile.sample[sample].label.iter().map(show).collect()
    };
    assert_eq!(
        labels(2),
        [
            "pid=100",
            "tid=101",
            "comm=program",
            "thread=worker",
            "executable=/bin/program"
        ]
    );
    let linked = labels(3);
    assert!(linked[5].starts_with("container=c0ffee"), "{linked:?}");
    assert_eq!(linked[6], format!("trace_id={}", "1a".repeat(16)));
    assert_eq!(linked[7], format!("span_id={}", "2b".repeat(8)));
    assert_eq!(labels(5)[4], "executable=[kernel]");
}

#[test]
fn mappings_say_what_their_locations_have() {
    let profile = written();
    let flags = |index: usize| {
        let mapping: &proto::Mapping = &profile.mapping[index];
        (
            mapping.has_functions,
            mapping.has_filenames,
            mapping.has_line_numbers,
            mapping.has_inline_frames,
        )
    };
    assert_eq!(flags(0), (true, true, true, true));
    assert_eq!(flags(1), (true, false, false, false));
    assert_eq!(
        string(&profile, profile.mapping[0].build_id),
        "ab".repeat(20)
    );
}
