//! Labels, traces and spans over the query API.

use std::sync::Arc;

use profiler_agent::export::ReadLimits;
use profiler_agent::export::pprof;
use profiler_agent::page::{Limits, LiveSource};
use profiler_agent::profile::{Link, Profile, UnixTime, WindowLinks, WindowSummary};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};
use serde_json::json;

use crate::demo::{Builder, Request};
use crate::served::{Served, TRACE_URL};

const MILLISECOND: u64 = 1_000_000;
/// 2026-01-01T00:00:00Z in ms.
const EPOCH: u64 = 1_767_225_600_000;
pub(crate) const TRACE: &str = "01010101010101010101010101010101";

fn at(milliseconds: u64) -> UnixTime {
    UnixTime((EPOCH + milliseconds) * MILLISECOND)
}

/// Two windows of 10 s. Trace 1 goes through `api` (spans 11 and, in the second window, 12) and `db` (span 21);
/// trace 2 is in `api` alone; `db` has a span 31 of an unknown trace; the rest belongs to no request.
pub(crate) fn two_windows() -> Vec<Profile> {
    let cart = [
        ("endpoint", "/cart"),
        ("span_name", "GET /cart"),
        ("user", "a:b"),
    ];
    let search = [("endpoint", "/search"), ("user", "me")];
    let request = |labels, trace, span| Request {
        labels,
        link: Some(Link {
            trace_id: [trace; 16],
            span_id: [span; 8],
        }),
    };
    let mut first = Builder::new(at(0), 10);
    let api = first.process(10, "api-main", "/usr/bin/api");
    let db = first.process(20, "postgres", "/usr/bin/db");
    let serve = ["go:api:main", "go:api:serve"];
    let query = ["native:db:main", "native:db:query"];
    first.add(api, "worker", &serve, 50);
    let times = [at(9_000), at(9_010), at(9_990)];
    first.add_request(api, "worker", &serve, &times, request(&cart, 0x01, 0x11));
    first.add_request(
        api,
        "worker",
        &serve,
        &[at(4_000)],
        request(&search, 0x02, 0x22),
    );
    first.add_request(db, "db", &query, &[at(9_500)], request(&[], 0x01, 0x21));
    let mut second = Builder::new(at(10_000), 10);
    let api = second.process(10, "api-main", "/usr/bin/api");
    let db = second.process(20, "postgres", "/usr/bin/db");
    second.add_request(
        api,
        "worker",
        &serve,
        &[at(10_001)],
        request(&cart, 0x01, 0x12),
    );
    second.add_request(db, "db", &query, &[at(12_000)], request(&[], 0x00, 0x31));
    second.add(db, "db", &query, 20);
    vec![first.finish(), second.finish()]
}

/// The same from the store's file.
fn stored() -> (tempfile::TempDir, Served) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
    for profile in two_windows() {
        let bytes = encoding::encode(&profile).unwrap();
        let (summary, links) = (WindowSummary::of(&profile), WindowLinks::of(&profile));
        store
            .append(profile.start, profile.end, &summary, &links, &bytes)
            .unwrap();
    }
    (directory, serve(store))
}

/// A page over a store.
pub(crate) fn serve(store: Store) -> Served {
    let decode = |bytes: &[u8]| encoding::decode(bytes).ok_or_else(|| "damaged".into());
    let source = LiveSource::new(Arc::new(store), Arc::new(decode));
    Served::new(Arc::new(source), Limits::AGENT)
}

#[test]
fn a_trace_is_told_with_services_spans_and_times() {
    let (_directory, stored) = stored();
    for served in [Served::files(two_windows(), Limits::VIEWER), stored] {
        let trace = served.json(&format!("/api/trace?trace_id={TRACE}"));
        assert_eq!(trace["traces"], json!([TRACE]));
        assert_eq!(trace["samples"], 5);
        assert_eq!(trace["windows"], 2);
        assert_eq!(trace["rest_samples"], 0);
        assert_eq!(trace["from"], (EPOCH + 9_000) as f64);
        assert_eq!(trace["until"], (EPOCH + 10_001) as f64);
        assert_eq!(trace["cpu_ns"], 5 * 10_101_010);
        let services = &trace["services"];
        assert_eq!(services[0]["name"], "api");
        assert_eq!(services[0]["samples"], 4);
        assert_eq!(services[0]["processes"], json!([10]));
        assert_eq!(services[1]["name"], "db");
        assert_eq!(services.as_array().unwrap().len(), 2);
        let spans = trace["spans"].as_array().unwrap();
        let told: Vec<_> = spans
            .iter()
            .map(|span| {
                (
                    &span["span_id"],
                    &span["name"],
                    &span["samples"],
                    &span["services"],
                )
            })
            .collect();
        assert_eq!(
            json!(told),
            json!([
                ["1111111111111111", "GET /cart", 3, [0]],
                ["2121212121212121", "", 1, [1]],
                ["1212121212121212", "GET /cart", 1, [0]],
            ])
        );
        assert_eq!(spans[0]["until"], (EPOCH + 9_990) as f64);
        let times: Vec<_> = trace["times"]
            .as_array()
            .unwrap()
            .iter()
            .map(|time| {
                (
                    time["time"].as_f64().unwrap() as u64 - EPOCH,
                    &time["service"],
                    &time["span"],
                )
            })
            .collect();
        assert_eq!(
            json!(times),
            json!([
                [9_000, 0, 0],
                [9_010, 0, 0],
                [9_500, 1, 1],
                [9_990, 0, 0],
                [10_001, 0, 2],
            ])
        );
    }
}

#[test]
fn a_span_is_told_with_its_trace() {
    let (_directory, served) = stored();
    let span = served.json("/api/trace?span_id=2121212121212121");
    assert_eq!(span["traces"], json!([TRACE]));
    assert_eq!((&span["samples"], &span["windows"]), (&json!(1), &json!(1)));
    let alone = served.json("/api/trace?span_id=3131313131313131");
    assert_eq!(alone["traces"], json!([]));
    assert_eq!(alone["spans"][0]["trace_id"], "0".repeat(32));
    let nobody = served.json("/api/trace?span_id=9999999999999999");
    assert_eq!(
        (&nobody["samples"], &nobody["from"]),
        (&json!(0), &json!(null))
    );
}

/// The store's index finds windows whatever their age, unless a range is given.
#[test]
fn every_query_can_be_narrowed_to_a_trace() {
    let (_directory, served) = stored();
    let graph = served.json(&format!("/api/flamegraph?trace_id={TRACE}"));
    assert_eq!(graph["samples"], 5);
    let strings = graph["strings"].as_array().unwrap();
    assert!(strings.contains(&json!("api")) && strings.contains(&json!("query")));
    let part = served.json(&format!("/api/flamegraph?trace_id={TRACE}&service=db"));
    assert_eq!(part["samples"], 1);
    let recent = served.json(&format!("/api/flamegraph?trace_id={TRACE}&from=now-5m"));
    assert_eq!(recent["samples"], 0);
    let functions = served.json(&format!(
        "/api/functions?trace_id={TRACE}&span_id=1212121212121212"
    ));
    assert_eq!(functions["functions"][0]["name"], "serve");
    assert_eq!(functions["samples"], 1);
    let services = served.json(&format!(
        "/api/services?trace_id={TRACE}&points=2&from={EPOCH}&until={}",
        EPOCH + 20_000
    ));
    assert_eq!(services["samples"], 5);
    assert_eq!(services["timeline"], json!([4.0, 1.0]));
    assert_eq!(services["services"][0]["samples"], 4);
    let compared = served.json(&format!(
        "/api/diff?trace_id={TRACE}&base_trace_id=02020202020202020202020202020202"
    ));
    assert_eq!(
        (&compared["samples"], &compared["base_samples"]),
        (&json!(5), &json!(1))
    );
}

#[test]
fn other_formats_have_only_the_samples_of_the_trace() {
    let (_directory, served) = stored();
    let (_, bytes) = served.bytes(&format!("/api/flamegraph?trace_id={TRACE}&format=pprof"));
    let profile = pprof::decode(&bytes, &ReadLimits::default()).unwrap();
    assert_eq!(profile.sample_count(), 5);
    let links = profile.samples.iter().map(|sample| sample.link.unwrap());
    assert!(links.clone().all(|link| link.trace_id == [1; 16]));
    // Times are for our own store: other readers would take them for labels.
    assert!(
        profile
            .samples
            .iter()
            .all(|sample| sample.occurrences.is_empty())
    );
    let (_, text) = served.get("/api/flamegraph?span_id=2121212121212121&format=collapsed");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.trim_end().ends_with("main;query 1"), "{text}");
}

#[test]
fn labels_are_listed_and_narrow() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let labels = served.json("/api/labels");
    assert_eq!(labels["samples"], 77);
    let keys = labels["keys"].as_array().unwrap();
    let told: Vec<_> = keys
        .iter()
        .map(|key| (&key["key"], &key["samples"], &key["values"][0]["value"]))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["endpoint", 5, "/cart"],
            ["user", 5, "a:b"],
            ["span_name", 4, "GET /cart"]
        ])
    );
    let samples = |query: &str| served.json(query)["samples"].as_u64().unwrap();
    assert_eq!(samples("/api/flamegraph?label=endpoint:/cart"), 4);
    assert_eq!(samples("/api/flamegraph?label=endpoint:/cart&window=1"), 1);
    assert_eq!(samples("/api/flamegraph?label=user:a:b"), 4);
    assert_eq!(samples("/api/flamegraph?label=user:a"), 0);
    assert_eq!(
        samples("/api/flamegraph?label=endpoint:/cart&label=user:me"),
        0
    );
    assert_eq!(
        samples("/api/flamegraph?label=endpoint:/search&label=user:me"),
        1
    );
    assert_eq!(samples("/api/services?label=endpoint:/cart"), 4);
    assert_eq!(samples("/api/labels?label=endpoint:/cart&service=db"), 0);
    let one = served.json("/api/labels?limit=1");
    assert_eq!(one["keys"][0]["value_count"], 2);
    assert_eq!(one["keys"][0]["rest_samples"], 1);
    let diff = served.json("/api/diff?label=endpoint:/cart&base_label=endpoint:/search");
    assert_eq!(
        (&diff["samples"], &diff["base_samples"]),
        (&json!(4), &json!(1))
    );
}

#[test]
fn a_wrong_id_or_label_is_refused_with_the_fix() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    assert!(served.refused("/api/trace").contains("trace_id"));
    assert!(
        served
            .refused("/api/trace?trace_id=12")
            .contains("32 hexadecimal")
    );
    assert!(
        served
            .refused("/api/flamegraph?span_id=xyz")
            .contains("16 hexadecimal")
    );
    assert!(
        served
            .refused("/api/labels?label=endpoint")
            .contains("colon")
    );
    assert!(
        served
            .refused("/api/windows?label=a:b")
            .contains("no parameter")
    );
    assert_eq!(served.json("/api/status")["trace_url"], TRACE_URL);
}
