//! What is pushed, as others read it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use proptest::prelude::*;
use prost::Message;
use tokio::net::TcpListener;

use super::generated::{PushRequest, RawProfileSeries};
use super::outcome::outcome;
use super::{Client, Config, Limits, Options, encode};
use crate::export::ReadLimits;
use crate::export::connection::Answer;
use crate::export::pprof::decode;
use crate::profile::example::{any_profile, example};
use crate::profile::{
    AttributeValue, Coding, Delivery, Destination, Label, LabelSet, Payload, Process, Profile,
    ResourceAttribute, UnixTime, WindowUuid,
};

const WINDOW: WindowUuid = WindowUuid([0xab; 16]);

fn only_series(payload: &Payload) -> RawProfileSeries {
    assert_eq!(payload.coding, Coding::Identity);
    let request = PushRequest::decode(payload.bytes.as_slice()).unwrap();
    let [series] = request.series.try_into().unwrap();
    series
}

fn labels(series: &RawProfileSeries) -> BTreeMap<&str, &str> {
    let pairs = series.labels.iter();
    pairs.map(|pair| (&*pair.name, &*pair.value)).collect()
}

/// The profile of a payload, and its length before compression, by gzip's own word.
fn profile(payload: &Payload) -> (Profile, usize) {
    let series = only_series(payload);
    let raw = &series.samples[0].raw_profile;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.pb.gz");
    std::fs::write(&path, raw).unwrap();
    let output = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
    (
        decode(raw, &ReadLimits::default()).unwrap(),
        output.stdout.len(),
    )
}

/// `go tool pprof -raw` of a payload's profile.
fn raw(payload: &Payload) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profile.pb.gz");
    std::fs::write(&path, &only_series(payload).samples[0].raw_profile).unwrap();
    let output = Command::new("go")
        .args(["tool", "pprof", "-raw"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn of_program(payloads: &[Payload]) -> &Payload {
    let is = |payload: &&Payload| labels(&only_series(payload))["service_name"] == "program";
    payloads.iter().find(is).unwrap()
}

fn sum(payloads: &[Payload]) -> u64 {
    payloads.iter().map(|payload| payload.samples).sum()
}

#[test]
fn each_program_is_a_series() {
    let options = Options {
        labels: vec![
            ("cluster".into(), "c1".into()),
            ("comm".into(), "mine".into()),
        ],
        node: Some("n1".into()),
        ..Options::default()
    };
    let payloads = encode(&example(), WINDOW, &options);
    assert_eq!(sum(&payloads), example().sample_count());
    let all: Vec<_> = payloads.iter().map(only_series).collect();
    let mut found = BTreeMap::new();
    for series in &all {
        let labels = labels(series);
        assert_eq!(labels["__name__"], "process_cpu");
        assert_eq!(labels["cluster"], "c1");
        assert_eq!(labels["node"], "n1");
        found.insert(labels["service_name"].to_owned(), labels);
    }
    let services: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(services, ["kernel", "program", "server"]);
    // What the process has is not overwritten; a kernel thread's own name is no label.
    assert_eq!(found["program"]["comm"], &*example().processes[0].comm);
    assert_eq!(found["kernel"]["comm"], "mine");
    assert!(found["server"]["container"].starts_with("c0ffee"));
    assert!(!found["program"].contains_key("container"));
    let ids: BTreeSet<_> = all.iter().map(|series| &series.samples[0].id).collect();
    assert_eq!(ids.len(), all.len());
    assert!(ids.contains(&"abababab-abab-abab-abab-abababababab".to_owned()));
}

#[test]
fn labels_are_those_that_people_expect() {
    let attribute = |key: &str, value: &str| ResourceAttribute {
        key: key.into(),
        value: AttributeValue::Text(value.into()),
    };
    let mut attributes = [
        ("service.name", "shop"),
        ("service.version", "1.2"),
        ("k8s.namespace.name", "prod"),
        ("k8s.pod.name", "shop-1"),
        ("k8s.container.name", "main"),
        ("k8s.node.name", "n2"),
        ("vcs.repository.url.full", "a.example/shop"),
    ]
    .map(|(key, value)| attribute(key, value));
    attributes.sort();
    let mut profile = example();
    for process in &mut profile.processes {
        *process = Arc::new(Process {
            resource: attributes.to_vec().into(),
            ..Process::clone(process)
        });
    }
    let options = Options {
        node: Some("n1".into()),
        ..Options::default()
    };
    let payloads = encode(&profile, WINDOW, &options);
    let series: Vec<_> = payloads.iter().map(only_series).collect();
    let shop = series.iter().map(labels).find(|l| l.contains_key("comm"));
    let mut shop = shop.unwrap();
    shop.remove("comm");
    shop.remove("container");
    let expected = [
        ("__delta__", "false"),
        ("__name__", "process_cpu"),
        ("namespace", "prod"),
        ("node", "n2"),
        ("pod", "shop-1"),
        ("service_name", "shop"),
        ("service_repository", "a.example/shop"),
        ("service_version", "1.2"),
    ];
    assert_eq!(shop, BTreeMap::from(expected));
    let all: Vec<_> = series.iter().map(labels).collect();
    assert!(all.iter().all(|labels| labels["container"] == "main"));
}

/// As pprof itself reads it.
#[test]
fn ids_are_labels_of_samples_and_threads_are_none() {
    let payloads = encode(&example(), WINDOW, &Options::default());
    let all: Vec<_> = payloads.iter().map(raw).collect();
    let all = all.join("\n");
    assert!(all.contains("samples/count cpu/nanoseconds"), "{all}");
    assert!(all.contains(&format!("trace_id:[{}]", "1a".repeat(16))));
    assert!(all.contains(&format!("span_id:[{}]", "2b".repeat(8))));
    assert!(all.contains("endpoint:[/cart]"));
    for label in ["pid:", "tid:", "thread:", "goid:", "comm:", "executable:"] {
        assert!(!all.contains(label), "{label} in {all}");
    }
    // Two threads of one program at one place are one sample there.
    let (program, _) = profile(of_program(&payloads));
    let counts: Vec<_> = program.samples.iter().map(|sample| sample.count).collect();
    assert_eq!(counts, [4, 1]);
}

#[test]
fn a_stack_that_is_too_deep_says_so() {
    let limits = Limits {
        stack_depth: 3,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let stacks = |profile: &Profile| -> BTreeSet<Vec<String>> {
        let name = |line: &crate::profile::LineEntry| {
            profile.functions[line.function.0 as usize].name.to_string()
        };
        let frames = |sample: &crate::profile::ProfileSample| {
            let stack = profile.stacks.get(sample.stack).iter();
            stack
                .flat_map(|index| profile.locations[index.0 as usize].lines.iter().map(name))
                .collect()
        };
        profile.samples.iter().map(frames).collect()
    };
    let whole = encode(&example(), WINDOW, &options);
    let (program, _) = profile(of_program(&whole));
    assert!(stacks(&program).contains(&["inner", "outer", "main"].map(str::to_owned)[..]));
    let options = Options {
        limits: Limits {
            stack_depth: 2,
            ..limits
        },
        ..options
    };
    let (program, _) = profile(of_program(&encode(&example(), WINDOW, &options)));
    let expected = [
        vec!["[truncated]".to_owned()],
        vec!["do_syscall_64".to_owned(), "[truncated]".to_owned()],
    ];
    assert_eq!(stacks(&program), BTreeSet::from(expected));
}

#[test]
fn labels_stay_within_the_limits() {
    let mut profile = example();
    let label = |number: usize| Label {
        key: format!("{number:02}-key.\u{e9}").into(),
        value: "\u{e9}".repeat(3_000).into(),
    };
    for set in &mut profile.label_sets {
        *set = LabelSet {
            labels: (0..40).map(label).collect(),
            goroutine: Some(1),
        };
    }
    let options = Options {
        labels: (0..50)
            .map(|n| (format!("l{n}"), "x".repeat(5_000)))
            .collect(),
        ..Options::default()
    };
    for (options, of_samples) in [(options, false), (Options::default(), true)] {
        for payload in encode(&profile, WINDOW, &options) {
            let series = only_series(&payload);
            let own = labels(&series);
            assert!(own.len() <= 30);
            assert!(own.values().all(|value| value.len() <= 2_048));
            let (read, _) = self::profile(&payload);
            let mut names = BTreeSet::new();
            for label in read.label_sets.iter().flat_map(|set| &set.labels) {
                assert!(label.value.len() <= 2_048);
                assert!(
                    label
                        .key
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'_')
                );
                names.insert(label.key.to_string());
            }
            assert!(own.len() + names.len() <= 30);
            assert_eq!(!names.is_empty(), of_samples);
        }
    }
}

proptest! {
    #[test]
    fn profiles_stay_below_the_limits_and_nothing_is_left_out(
        any in any_profile(1_000_000, true), samples in 1usize..6, bytes in 100usize..2_000,
    ) {
        let limits = Limits { samples, profile_bytes: bytes, ..Limits::default() };
        let payloads = encode(&any, WINDOW, &Options { limits, ..Options::default() });
        prop_assert_eq!(sum(&payloads), any.sample_count());
        let mut measured = 0;
        for (number, payload) in payloads.iter().enumerate() {
            prop_assert_eq!(payload.id.part as usize, number);
            let (profile, length) = profile(payload);
            prop_assert_eq!(payload.raw_length, length as u64);
            prop_assert!(length <= bytes || profile.samples.len() == 1);
            prop_assert!(profile.samples.len() <= samples);
            prop_assert_eq!(profile.kind, any.kind);
            if any.kind.period.is_some() {
                prop_assert_eq!(profile.sample_count(), payload.samples);
            }
            prop_assert!(profile.locations.iter().all(|location| !location.lines.is_empty()));
            prop_assert!(profile.functions.iter().all(|function| !function.name.is_empty()));
            measured += profile.value();
        }
        prop_assert_eq!(measured, any.value());
    }
}

#[test]
fn a_location_without_lines_has_a_name() {
    let mut profile = example();
    for location in &mut profile.locations {
        location.lines = [].into();
    }
    let payloads = encode(&profile, WINDOW, &Options::default());
    assert!(raw(of_program(&payloads)).contains("program+0x1200"));
}

type Log = Arc<Mutex<Vec<(Uri, HeaderMap, Bytes)>>>;

#[tokio::test]
async fn what_arrives_is_what_was_encoded() {
    let log = Log::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&log);
    let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
        seen.lock().unwrap().push((uri, headers, body));
        ([("content-type", "application/proto")], "")
    };
    let router = axum::Router::new().fallback(handler);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = Config::new(format!("http://{address}/base/").parse().unwrap());
    config.tenant = Some("team-1".into());
    let client = Client::new(config.clone()).unwrap();
    let payloads = encode(&example(), WINDOW, &config.options);
    for payload in &payloads {
        let delivery = client.send(Arc::new(payload.clone())).await;
        assert_eq!(delivery, Delivery::Accepted);
    }
    let log = log.lock().unwrap();
    assert_eq!(log.len(), payloads.len());
    for ((uri, headers, body), payload) in log.iter().zip(&payloads) {
        assert_eq!(uri.path(), "/base/push.v1.PusherService/Push");
        assert_eq!(headers["content-type"], "application/proto");
        assert_eq!(headers["connect-protocol-version"], "1");
        assert_eq!(headers["x-scope-orgid"], "team-1");
        assert_eq!(**body, payload.bytes);
    }
    config.tenant = Some("a\nb".into());
    assert!(Client::new(config).is_err());
}

fn of(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Delivery {
    let map = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    outcome(&Answer {
        received: UnixTime(0),
        status: StatusCode::from_u16(status).unwrap(),
        headers: map.collect(),
        body: Bytes::copy_from_slice(body),
        trailers: HeaderMap::new(),
    })
}

#[test]
fn failures_are_those_of_connect() {
    let error = |code: &str| format!(r#"{{"code":"{code}","message":"said\nso","details":[]}}"#);
    for (status, code, retried) in [
        (429, "resource_exhausted", true),
        (503, "unavailable", true),
        (500, "internal", true),
        (500, "unknown", true),
        (400, "invalid_argument", false),
        (401, "unauthenticated", false),
        (403, "permission_denied", false),
        (404, "unimplemented", false),
        (413, "", false),
        (502, "", true),
        (301, "", false),
    ] {
        let delivery = of(status, &[], error(code).as_bytes());
        let retry = matches!(delivery, Delivery::Retry { .. });
        assert_eq!(retry, retried, "{status} {code}: {delivery:?}");
    }
    let wait = of(
        429,
        &[("retry-after", "7")],
        error("resource_exhausted").as_bytes(),
    );
    let expected = Delivery::Retry {
        after: Some(std::time::Duration::from_secs(7)),
        message: "HTTP 429 Too Many Requests: resource_exhausted: said so".into(),
    };
    assert_eq!(wait, expected);
    let Delivery::Refused { message } = of(401, &[], b"") else {
        panic!("refused");
    };
    assert!(message.contains("tenant"), "{message}");
    let page = of(200, &[("content-type", "text/html")], b"<html>");
    assert!(matches!(page, Delivery::Retry { .. }), "{page:?}");
}

proptest! {
    #[test]
    fn no_answer_breaks_it(
        code in 100u16..999, body in prop::collection::vec(any::<u8>(), 0..80), kind in "[ -~]{0,20}",
    ) {
        let delivery = of(code, &[("content-type", &kind), ("retry-after", &kind)], &body);
        prop_assert!(delivery != Delivery::Accepted || code == 200);
    }
}
