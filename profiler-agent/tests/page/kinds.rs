//! Time on CPUs and off them: each alone, and both as wall-clock time.

use profiler_agent::page::Limits;
use profiler_agent::profile::{
    Link, Profile, SampleKind, UnixTime, WindowArchive, WindowLinks, WindowSummary,
};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};
use serde_json::json;

use crate::demo::{Builder, Request};
use crate::devtools::Browser;
use crate::served::Served;
use crate::traces;

const MILLISECOND: u64 = 1_000_000;
/// 2026-01-01T00:00:00Z in ms.
const EPOCH: u64 = 1_767_225_600_000;
const TRACE: &str = "07070707070707070707070707070707";
/// A sample at 99 Hz in ns.
const PERIOD: u64 = 10_101_010;

fn at(milliseconds: u64) -> UnixTime {
    UnixTime((EPOCH + milliseconds) * MILLISECOND)
}

fn request<'a>(labels: &'a [(&'a str, &'a str)]) -> Request<'a> {
    Request {
        labels,
        link: Some(Link {
            trace_id: [7; 16],
            span_id: [8; 8],
        }),
    }
}

/// A window of each kind: a request that runs for three samples and sleeps for 40 and 60 ms, beside a thread that sleeps
/// for 500 ms.
fn windows(start: u64) -> [Profile; 2] {
    let at = |milliseconds| at(start + milliseconds);
    let serve = ["native:api:main", "native:api:serve"];
    let mut on = Builder::new(at(0), 10);
    let api = on.process(10, "api", "/usr/bin/api");
    let times = [at(1_000), at(1_010), at(1_020)];
    on.add_request(api, "worker", &serve, &times, request(&[]));
    on.add(api, "worker", &serve, 7);
    let mut off = Builder::new(at(0), 10);
    let api = off.process(10, "api", "/usr/bin/api");
    let sleep = [
        "native:api:main",
        "native:api:serve",
        "kernel:[kernel]:schedule",
    ];
    let blocked = [("thread.state", "blocked")];
    off.add_request(
        api,
        "worker",
        &sleep,
        &[at(1_060), at(1_130)],
        request(&blocked),
    );
    off.add_request(api, "timer", &sleep[1..], &[at(2_000)], Request::default());
    let mut off = off.finish();
    off.kind = SampleKind::OFF_CPU;
    let waits: [&[u64]; 2] = [&[40 * MILLISECOND, 60 * MILLISECOND], &[500 * MILLISECOND]];
    for (sample, waits) in off.samples.iter_mut().zip(waits) {
        let times = sample.occurrences.times().to_vec();
        sample.occurrences = times.into_iter().zip(waits.iter().copied()).collect();
        sample.value = sample.occurrences.total();
    }
    [on.finish(), off]
}

fn check(served: &Served) {
    let status = served.json("/api/status");
    assert_eq!(status["types"], json!(["cpu", "off_cpu", "wall"]));
    let range = format!("from={EPOCH}&until={}", EPOCH + 20_000);
    let graph = |kind: &str| {
        let graph = served.json(&format!("/api/flamegraph?{range}&{kind}"));
        let counts = ["type", "period_ns", "samples"].map(|name| graph[name].clone());
        json!(counts)
    };
    assert_eq!(graph(""), json!(["cpu", PERIOD, 10]));
    assert_eq!(graph("type=cpu"), graph(""));
    assert_eq!(
        graph("type=off_cpu"),
        json!(["off_cpu", 1, 600 * MILLISECOND])
    );
    let wall = 600 * MILLISECOND + 10 * PERIOD;
    assert_eq!(graph("type=wall"), json!(["wall", 1, wall]));
    assert_eq!(
        graph("type=off_cpu&label=thread.state:blocked"),
        json!(["off_cpu", 1, 100 * MILLISECOND])
    );
    let services = |kind: &str| {
        let list = served.json(&format!("/api/services?{range}&{kind}"));
        let counts = ["type", "period_ns", "samples", "windows", "window_seconds"];
        json!(counts.map(|name| list[name].clone()))
    };
    assert_eq!(services("type=cpu"), json!(["cpu", PERIOD, 10, 1, 10.0]));
    assert_eq!(
        services("type=off_cpu"),
        json!(["off_cpu", 1, 600 * MILLISECOND, 1, 10.0])
    );
    // Both windows are of the same ten seconds.
    assert_eq!(services("type=wall"), json!(["wall", 1, wall, 1, 10.0]));
    let functions = served.json(&format!("/api/functions?{range}&type=off_cpu"));
    assert_eq!(functions["functions"][0]["name"], "schedule");
    assert_eq!(functions["functions"][0]["self"], 600 * MILLISECOND);
    let told = served.refused("/api/flamegraph?type=heap");
    assert_eq!(told, "type is \"heap\": give one of cpu, off_cpu, wall");
}

#[test]
fn kinds_are_told_apart_and_added_up() {
    let files = Served::files(windows(0).into(), Limits::VIEWER);
    check(&files);
    let listed = files.json("/api/windows?type=off_cpu");
    assert_eq!(
        (&listed["found"], &listed["windows"][0]["type"]),
        (&json!(1), &json!("off_cpu"))
    );
    let directory = tempfile::tempdir().unwrap();
    check(&stored(directory.path(), &windows(0)));
}

/// From the store's file.
fn stored(directory: &std::path::Path, profiles: &[Profile]) -> Served {
    let store = Store::open(directory, StoreLimits::default()).unwrap();
    for profile in profiles {
        let bytes = encoding::encode(profile).unwrap();
        let (summary, links) = (WindowSummary::of(profile), WindowLinks::of(profile));
        store
            .append(profile.start, profile.end, &summary, &links, &bytes)
            .unwrap();
    }
    traces::serve(store)
}

#[test]
fn a_trace_has_time_of_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let served = stored(directory.path(), &windows(0));
    let trace = served.json(&format!("/api/trace?trace_id={TRACE}"));
    assert_eq!(trace["cpu_ns"], 3 * PERIOD);
    assert_eq!(trace["off_cpu_ns"], 100 * MILLISECOND);
    assert_eq!(trace["samples"], 5);
    assert_eq!(trace["spans"][0]["off_cpu_ns"], 100 * MILLISECOND);
    // It begins and ends where its samples do: the first stay off a CPU is over at 1,060 ms.
    let time = |name: &str| trace[name].as_f64().unwrap() - EPOCH as f64;
    assert!((time("from") - 1_000.0).abs() < 0.01, "{}", time("from"));
    assert!((time("until") - 1_130.0).abs() < 0.01, "{}", time("until"));
    let times = trace["times"].as_array().unwrap();
    let waits: Vec<_> = times
        .iter()
        .map(|time| time["off_cpu_ns"].as_u64().unwrap())
        .collect();
    assert_eq!(waits.iter().filter(|wait| **wait == 0).count(), 3);
    assert_eq!(waits.iter().sum::<u64>(), 100 * MILLISECOND);
    let on = served.json(&format!("/api/trace?trace_id={TRACE}&type=cpu"));
    assert_eq!(
        (&on["cpu_ns"], &on["off_cpu_ns"]),
        (&json!(3 * PERIOD), &json!(0))
    );
}

/// Windows of one kind are merged with each other alone.
#[test]
fn merged_spans_are_of_one_kind() {
    let directory = tempfile::tempdir().unwrap();
    let profiles: Vec<Profile> = (0..12)
        .flat_map(|number| windows(number * 10_000))
        .collect();
    let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
    for profile in &profiles {
        let bytes = encoding::encode(profile).unwrap();
        let (summary, links) = (WindowSummary::of(profile), WindowLinks::of(profile));
        store
            .append(profile.start, profile.end, &summary, &links, &bytes)
            .unwrap();
    }
    let decode = |bytes: &[u8]| encoding::decode(bytes).ok_or_else(|| "damaged".into());
    let stop = std::sync::atomic::AtomicBool::new(false);
    while store
        .merge_next(&decode, (StoreLimits::MERGE_BYTES, &stop))
        .unwrap()
        .is_some()
    {}
    let spans = store.merged_spans(at(0), at(200_000)).unwrap();
    assert!(spans.len() >= 2, "{spans:?}");
    for span in &spans {
        let profile = store.read_merged(span).unwrap().unwrap();
        assert_eq!(profile.kind.kind, span.kind);
        let one = if span.kind == SampleKind::OFF_CPU.kind {
            600 * MILLISECOND
        } else {
            10 * PERIOD
        };
        assert_eq!(profile.value(), one * span.windows.len() as u64);
    }
    drop(store);
    // And opened again, they stand for their windows still.
    let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
    assert_eq!(store.merged_spans(at(0), at(200_000)).unwrap(), spans);
    let served = traces::serve(store);
    let range = format!("from={EPOCH}&until={}", EPOCH + 120_000);
    let graph = served.json(&format!("/api/flamegraph?{range}&type=wall"));
    assert_eq!(graph["samples"], 12 * (600 * MILLISECOND + 10 * PERIOD));
}

/// What is looked at is chosen beside the time span, is in the address, and is said in words.
#[test]
fn the_page_switches_between_kinds() {
    let served = Served::files(windows(0).into(), Limits::VIEWER);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.drawn();
    assert_eq!(
        browser.texts("#types button"),
        ["CPU", "Off CPU", "Wall clock"]
    );
    assert_eq!(browser.texts("#types [aria-pressed=true]"), ["CPU"]);
    let subtitle = browser.text_of("#subtitle");
    assert!(
        subtitle.contains("101 ms of CPU time") || subtitle.contains("0.10 s of CPU time"),
        "{subtitle}"
    );
    browser.press("#types [data-type=off_cpu]");
    browser.until(
        "document.querySelector('#subtitle').textContent.includes('0.60 s of off-CPU time')",
    );
    browser.drawn();
    assert_eq!(browser.texts("#types [aria-pressed=true]"), ["Off CPU"]);
    let hash = browser.value("location.hash");
    assert!(hash.as_str().unwrap().contains("type=off_cpu"), "{hash}");
    // Nanoseconds are no samples.
    let said = browser.point_at(0.1, 0);
    assert!(
        said.contains("0.60 s") && !said.contains("samples"),
        "{said}"
    );
    browser.page(&served, &format!("#trace_id={TRACE}&type=wall"));
    browser.until("document.querySelector('#subtitle').textContent.includes('off CPU')");
    browser.drawn();
    let said = browser.text_of("#subtitle");
    assert!(said.contains("30 ms of CPU time, 0.10 s off CPU"), "{said}");
    browser.is_content();
}
