//! What is written, by the rules of the data model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::profiles::v1development::ProfilesDictionary;
use proptest::prelude::*;
use prost::Message;

use super::check::check;
use super::{Grouping, Host, Options, Shape, decode, encode, encode_one};
use crate::export::ReadLimits;
use crate::profile::example::{any_profile, example};
use crate::profile::{AttributeValue, Coding, Profile, ResourceAttribute, WindowUuid};

fn request(profile: &Profile, options: &Options) -> ExportProfilesServiceRequest {
    let plain = Options {
        coding: Coding::Identity,
        ..options.clone()
    };
    let payload = encode_one(profile, &plain);
    ExportProfilesServiceRequest::decode(payload.bytes.as_slice()).unwrap()
}

fn show(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn resources(request: &ExportProfilesServiceRequest) -> Vec<BTreeMap<String, String>> {
    let attributes = |resource: &opentelemetry_proto::tonic::resource::v1::Resource| {
        let value = |a: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            show(a.value.as_ref().and_then(|value| value.value.as_ref()))
        };
        resource
            .attributes
            .iter()
            .map(|a| (a.key.clone(), value(a)))
            .collect()
    };
    request
        .resource_profiles
        .iter()
        .map(|profiles| attributes(profiles.resource.as_ref().unwrap()))
        .collect()
}

/// Stacks as `function<function inlined into it;..` by what is measured (the number of periods, or time) and times.
fn stacks(request: &ExportProfilesServiceRequest) -> BTreeMap<String, (u64, Vec<u64>)> {
    let dictionary = request.dictionary.as_ref().unwrap();
    let mut stacks = BTreeMap::new();
    let profiles = request
        .resource_profiles
        .iter()
        .flat_map(|r| &r.scope_profiles);
    for sample in profiles.flat_map(|s| &s.profiles).flat_map(|p| &p.samples) {
        let entry: &mut (u64, Vec<u64>) = stacks
            .entry(stack(dictionary, sample.stack_index))
            .or_default();
        entry.0 += match sample.values.as_slice() {
            [] => sample.timestamps_unix_nano.len() as u64,
            values => values.iter().sum::<i64>() as u64,
        };
        entry.1.extend(&sample.timestamps_unix_nano);
        entry.1.sort_unstable();
    }
    stacks
}

fn stack(dictionary: &ProfilesDictionary, index: i32) -> String {
    let indices = &dictionary.stack_table[index as usize].location_indices;
    let location = |index: &i32| {
        let location = &dictionary.location_table[*index as usize];
        let function = |line: &opentelemetry_proto::tonic::profiles::v1development::Line| {
            let function = &dictionary.function_table[line.function_index as usize];
            dictionary.string_table[function.name_strindex as usize].clone()
        };
        location
            .lines
            .iter()
            .map(function)
            .collect::<Vec<_>>()
            .join("<")
    };
    indices.iter().map(location).collect::<Vec<_>>().join(";")
}

fn profile_stacks(profile: &Profile) -> BTreeMap<String, (u64, Vec<u64>)> {
    let mut stacks = BTreeMap::new();
    for sample in &profile.samples {
        let location = |index: &crate::profile::LocationIndex| {
            let lines = profile.locations[index.0 as usize].lines.iter();
            let name = |line: &crate::profile::LineEntry| match &*profile.functions
                [line.function.0 as usize]
                .name
            {
                "" => "[unknown]".to_owned(),
                name => name.to_owned(),
            };
            lines.map(name).collect::<Vec<_>>().join("<")
        };
        let frames: Vec<_> = profile
            .stacks
            .get(sample.stack)
            .iter()
            .map(location)
            .collect();
        let entry: &mut (u64, Vec<u64>) = stacks.entry(frames.join(";")).or_default();
        entry.0 += sample.value / profile.kind.quantum();
        entry
            .1
            .extend(sample.occurrences.times().iter().map(|time| time.0));
        entry.1.sort_unstable();
    }
    stacks
}

#[test]
fn a_receiver_gets_one_resource_per_container_or_process() {
    let options = Options {
        resource: vec![
            ("k8s.node.name".into(), "node-1".into()),
            ("process.pid".into(), "1".into()),
        ],
        host: Host {
            id: Some("machine".into()),
            name: Some("host".into()),
            arch: Some("amd64"),
        },
        ..Options::default()
    };
    let request = request(&example(), &options);
    check(&request);
    let resources = resources(&request);
    let of = |key: &str| -> Vec<Option<&str>> {
        resources
            .iter()
            .map(|r| r.get(key).map(String::as_str))
            .collect()
    };
    assert_eq!(
        of("service.name"),
        [Some("program"), Some("server"), Some("kernel")]
    );
    assert_eq!(of("process.pid"), [Some("100"), Some("1"), Some("1")]);
    assert_eq!(of("k8s.node.name"), [Some("node-1"); 3]);
    assert_eq!(of("host.arch"), [Some("amd64"); 3]);
    assert_eq!(
        of("process.executable.path"),
        [Some("/bin/program"), Some("/usr/bin/server"), None]
    );
    assert!(of("container.id")[1].is_some_and(|id| id.starts_with("c0ffee")));
    // The two threads of process 100 have a stack in common: one sample.
    let profile = &request.resource_profiles[0].scope_profiles[0].profiles[0];
    assert_eq!(profile.samples.len(), 2);
    assert_eq!(
        profile.samples[0].timestamps_unix_nano,
        [1_000, 1_002, 1_003, 1_005]
    );
    assert!(profile.samples[0].attribute_indices.is_empty());
    assert_eq!(profile.period, 10_101_010);
}

#[test]
fn a_configured_service_name_is_everywhere() {
    let options = Options {
        service_name: Some("named".into()),
        resource: vec![("service.name".into(), "overridden".into())],
        ..Options::default()
    };
    for resource in resources(&request(&example(), &options)) {
        assert_eq!(resource["service.name"], "named");
    }
}

#[test]
fn what_a_process_publishes_is_believed_but_for_what_is_known() {
    let mut profile = example();
    let attribute = |key: &str, value: AttributeValue| ResourceAttribute {
        key: key.into(),
        value,
    };
    let text = |value: &str| AttributeValue::Text(value.into());
    Arc::make_mut(&mut profile.processes[0]).resource = [
        attribute("host.arch", text("their own")),
        attribute("k8s.node.name", text("their own")),
        attribute("replica", AttributeValue::Integer(3)),
        attribute("service.name", text("shop")),
        attribute("service.version", text("1.2.3")),
    ]
    .into();
    let options = Options {
        resource: vec![("k8s.node.name".into(), "node-1".into())],
        host: Host {
            arch: Some("amd64"),
            ..Host::default()
        },
        ..Options::default()
    };
    let request = request(&profile, &options);
    check(&request);
    let resource = &resources(&request)[0];
    for (key, value) in [
        ("host.arch", "amd64"),
        ("k8s.node.name", "node-1"),
        ("replica", "3"),
        ("service.name", "shop"),
        ("service.version", "1.2.3"),
        ("process.executable.name", "program"),
    ] {
        assert_eq!(resource[key], value, "{key}");
    }
    // What is read back is called the same.
    let bytes = encode_one(&profile, &Options::file(Host::default())).bytes;
    let read = decode(&bytes, &ReadLimits::default()).unwrap();
    let services: Vec<&str> = read.processes.iter().map(|read| read.service()).collect();
    assert_eq!(services, ["shop", "server", "kernel"]);
}

#[test]
fn a_file_keeps_threads_and_processes() {
    let request = request(&example(), &Options::file(Host::default()));
    check(&request);
    let dictionary = request.dictionary.as_ref().unwrap();
    let profile = &request.resource_profiles[0].scope_profiles[0].profiles[0];
    let threads: Vec<Vec<String>> = profile
        .samples
        .iter()
        .map(|sample| {
            let indices = sample.attribute_indices.iter();
            let attributes = indices.map(|index| &dictionary.attribute_table[*index as usize]);
            attributes
                .map(|a| show(a.value.as_ref().and_then(|value| value.value.as_ref())))
                .collect()
        })
        .collect();
    assert_eq!(
        threads,
        [["100", "program"], ["100", "program"], ["101", "worker"]]
    );
    let pids: Vec<_> = resources(&request)
        .iter()
        .map(|r| r["process.pid"].clone())
        .collect();
    assert_eq!(pids, ["100", "200", "2"]);
}

#[test]
fn build_ids_and_links_are_there() {
    let request = request(&example(), &Options::default());
    let dictionary = request.dictionary.as_ref().unwrap();
    let strings: Vec<_> = dictionary.attribute_table[1..]
        .iter()
        .map(|a| {
            let key = &dictionary.string_table[a.key_strindex as usize];
            format!(
                "{key}={}",
                show(a.value.as_ref().and_then(|value| value.value.as_ref()))
            )
        })
        .collect();
    for expected in [
        format!("process.executable.build_id.gnu={}", "ab".repeat(20)),
        format!("process.executable.build_id.htlhash={}", "cd".repeat(16)),
        "profile.frame.type=rust".to_owned(),
        "profile.frame.type=kernel".to_owned(),
    ] {
        assert!(strings.contains(&expected), "{expected} in {strings:?}");
    }
    assert_eq!(dictionary.link_table[1].trace_id, [0x1a; 16]);
}

#[test]
fn a_profile_without_samples_is_not_sent() {
    let mut profile = example();
    profile.samples.clear();
    assert!(
        encode(
            &profile,
            WindowUuid::new(profile.start, 1),
            &Options::default()
        )
        .is_empty()
    );
    check(&request(&profile, &Options::file(Host::default())));
}

/// A goroutine's id would make a series of every goroutine.
#[test]
fn a_receiver_gets_labels_and_links_and_no_goroutines() {
    let keys = |options: &Options| -> Vec<String> {
        let request = request(&example(), options);
        check(&request);
        let dictionary = request.dictionary.unwrap();
        let attributes = dictionary.attribute_table[1..].iter();
        let keys = attributes.map(|a| dictionary.string_table[a.key_strindex as usize].clone());
        keys.filter(|key| !key.starts_with("p") || key.contains("label"))
            .collect()
    };
    assert_eq!(
        keys(&Options::default()),
        [
            "process.context.label.endpoint",
            "process.context.label.user"
        ]
    );
    let file = keys(&Options::file(Host::default()));
    assert!(file.contains(&"goroutine.id".to_owned()), "{file:?}");
}

/// The agent's own label is no label of the program.
#[test]
fn the_state_of_a_thread_has_no_prefix() {
    let mut profile = example();
    profile.label_sets[1].labels[1].key = "thread.state".into();
    let request = request(&profile, &Options::default());
    check(&request);
    let dictionary = request.dictionary.as_ref().unwrap();
    let strings = &dictionary.string_table;
    assert!(strings.iter().any(|text| text == "thread.state"));
    assert!(
        !strings
            .iter()
            .any(|text| text.ends_with(".label.thread.state"))
    );
    let bytes = encode_one(&profile, &Options::file(Host::default())).bytes;
    let read = decode(&bytes, &ReadLimits::default()).unwrap();
    let value = profile.label_sets[1].get("thread.state");
    assert!(
        read.label_sets
            .iter()
            .any(|set| set.get("thread.state") == value)
    );
}

/// Sixteen zeros for a trace that is not known: the fields keep their lengths.
#[test]
fn a_link_of_a_span_alone_has_a_trace_id_of_zeros() {
    let mut profile = example();
    for sample in &mut profile.samples {
        if let Some(link) = &mut sample.link {
            link.trace_id = [0; 16];
        }
    }
    let request = request(&profile, &Options::default());
    check(&request);
    let links = &request.dictionary.as_ref().unwrap().link_table;
    assert_eq!(links[1].trace_id, [0; 16]);
    assert_eq!(links[1].span_id, [0x2b; 8]);
}

/// What Pyroscope makes of a request: see its OTLP ingestion. Locations without lines vanish, samples with values
/// and timestamps are refused, each sample attribute makes a series.
#[test]
fn pyroscopes_traps_are_avoided() {
    let mut profile = example();
    let nameless = profile.locations.len() / 2;
    profile.locations[nameless].lines = [].into();
    for shape in [Shape::Timestamps, Shape::Values] {
        let options = Options {
            shape,
            ..Options::default()
        };
        let request = request(&profile, &options);
        check(&request);
        for resource in resources(&request) {
            assert!(!resource["service.name"].is_empty());
        }
        let dictionary = request.dictionary.as_ref().unwrap();
        assert!(!dictionary.mapping_table.is_empty());
        for location in &dictionary.location_table[1..] {
            assert!(!location.lines.is_empty());
            for line in &location.lines {
                let function = &dictionary.function_table[line.function_index as usize];
                let name = &dictionary.string_table[function.name_strindex as usize];
                assert!(!name.is_empty());
            }
        }
        let scopes = request
            .resource_profiles
            .iter()
            .flat_map(|r| &r.scope_profiles);
        for profile in scopes.flat_map(|scope| &scope.profiles) {
            assert!(profile.period > 0);
            for sample in &profile.samples {
                let (values, times) = (sample.values.len(), sample.timestamps_unix_nano.len());
                assert!(values == 1 && times == 0 || values == 0 && times > 0);
            }
        }
        let keys = dictionary.attribute_table[1..].iter();
        for key in keys.map(|a| &dictionary.string_table[a.key_strindex as usize]) {
            let series = ["thread", "process.pid", "goroutine", "trace", "span"];
            assert!(!series.iter().any(|start| key.starts_with(start)), "{key}");
        }
    }
}

proptest! {
    #[test]
    fn requests_follow_the_rules_and_hold_every_sample(
        profile in any_profile(1_000_000, true), threads: bool, by_process: bool, values: bool,
    ) {
        let options = Options {
            shape: if values { Shape::Values } else { Shape::Timestamps },
            grouping: if by_process { Grouping::Process } else { Grouping::Container },
            threads,
            ..Options::default()
        };
        let request = request(&profile, &options);
        check(&request);
        let mut expected = profile_stacks(&profile);
        if values {
            expected.values_mut().for_each(|(_, times)| times.clear());
        }
        prop_assert_eq!(stacks(&request), expected);
    }

    #[test]
    fn a_profile_without_times_is_written_as_values(profile in any_profile(1_000_000, false)) {
        let request = request(&profile, &Options::default());
        check(&request);
        prop_assert_eq!(stacks(&request), profile_stacks(&profile));
    }

    #[test]
    fn requests_stay_below_the_limit(profile in any_profile(1_000_000, true), max in 500usize..3_000) {
        let options = Options { max_bytes: max, coding: Coding::Identity, ..Options::default() };
        let payloads = encode(&profile, WindowUuid::new(profile.start, 1), &options);
        let mut sum = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for (part, payload) in payloads.iter().enumerate() {
            prop_assert_eq!(payload.id.part, part as u32);
            let request = ExportProfilesServiceRequest::decode(payload.bytes.as_slice()).unwrap();
            check(&request);
            for resource in &request.resource_profiles {
                let profiles = &resource.scope_profiles[0].profiles;
                prop_assert!(profiles.iter().all(|profile| ids.insert(profile.profile_id.clone())));
            }
            let stacks = stacks(&request);
            let count: u64 = stacks.values().map(|(count, _)| count).sum();
            if profile.kind.period.is_some() {
                prop_assert_eq!(count, payload.samples);
            }
            prop_assert!(payload.bytes.len() <= max || payload.samples == 1);
            for (stack, (count, times)) in stacks {
                let entry: &mut (u64, Vec<u64>) = sum.entry(stack).or_default();
                entry.0 += count;
                entry.1.extend(times);
                entry.1.sort_unstable();
            }
        }
        prop_assert_eq!(sum, profile_stacks(&profile));
    }
}
