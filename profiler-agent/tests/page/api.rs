//! The query API over a real socket: what is asked is what is answered.

use std::sync::Arc;

use profiler_agent::export::ReadLimits;
use profiler_agent::export::pprof;
use profiler_agent::page::{Limits, LiveSource};
use profiler_agent::profile::{Profile, SampleLoss, UnixTime, WindowLinks, WindowSummary};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};
use serde_json::{Value, json};

use crate::demo::Builder;
use crate::served::Served;

const SECOND: u64 = 1_000_000_000;
/// 2026-01-01T00:00:00Z in seconds.
const EPOCH: u64 = 1_767_225_600;

fn at(second: u64) -> UnixTime {
    UnixTime((EPOCH + second) * SECOND)
}

/// Two windows: in the first `api` is busy, in the second `db` as well.
fn two_windows() -> Vec<Profile> {
    let mut first = Builder::new(at(0), 10);
    let api = first.process(10, "api-main", "/usr/bin/api");
    first.add(api, "worker", &["go:api:main", "go:api:serve»parse"], 60);
    first.add(api, "worker", &["go:api:main", "go:api:serve"], 30);
    first.add(
        api,
        "gc",
        &["go:api:main", "kernel:[kernel]:do_syscall_64"],
        10,
    );
    first.lose(SampleLoss::RingFull, 3);
    let mut second = Builder::new(at(10), 10);
    let api = second.process(10, "api-main", "/usr/bin/api");
    let db = second.process(20, "postgres", "/usr/lib/postgres");
    second.add(api, "worker", &["go:api:main", "go:api:serve»parse"], 40);
    second.add(
        db,
        "postgres",
        &[
            "native:postgres:main",
            "native:postgres:exec",
            "native:postgres:exec",
        ],
        50,
    );
    second.add(
        db,
        "postgres",
        &["broken::[truncated]", "unnamed:libx.so:libx.so+0x10"],
        10,
    );
    vec![first.finish(), second.finish()]
}

/// Path of names -> (self, total, kind, inlined), read from an answer as `API.md` describes it.
pub(crate) fn paths(graph: &Value, stride: usize) -> Vec<(String, Vec<u64>, String)> {
    let numbers: Vec<u64> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_u64().unwrap())
        .collect();
    let mut path: Vec<&str> = Vec::new();
    numbers
        .chunks_exact(stride)
        .map(|node| {
            let frame = node[0] as usize * 4;
            let name = &graph["strings"][graph["frames"][frame].as_u64().unwrap() as usize];
            let kind = &graph["kinds"][graph["frames"][frame + 3].as_u64().unwrap() as usize];
            path.truncate(node[1] as usize);
            path.push(name.as_str().unwrap());
            (
                path.join("/"),
                node[2..].to_vec(),
                kind.as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn find<'a>(paths: &'a [(String, Vec<u64>, String)], path: &str) -> &'a [u64] {
    &paths.iter().find(|(found, ..)| found == path).unwrap().1
}

#[test]
fn services_come_by_cpu_with_a_time_line() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let list = served.json("/api/services?points=4");
    assert_eq!(list["samples"], 200);
    assert_eq!(list["timeline"], json!([50.0, 50.0, 50.0, 50.0]));
    assert_eq!(list["losses"], json!({"ring_full": 3}));
    let services = list["services"].as_array().unwrap();
    assert_eq!(services[0]["name"], "api");
    assert_eq!(services[0]["samples"], 140);
    assert_eq!(services[0]["timeline"], json!([50.0, 50.0, 20.0, 20.0]));
    assert_eq!(
        services[0]["processes"],
        json!([{"pid": 10, "comm": "api-main", "samples": 140}])
    );
    assert_eq!(services[1]["name"], "postgres");
    let from = (EPOCH + 12) * 1000;
    let part = served.json(&format!("/api/services?from={from}&service=postgres"));
    assert_eq!(part["samples"], 60);
    assert_eq!(part["windows"], 1);
    assert_eq!(part["window_seconds"], 10.0);
    // Two of the window's ten seconds lie before the range.
    let sum: f64 = part["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_f64)
        .sum();
    assert!((sum - 48.0).abs() < 0.5, "{sum}");
}

#[test]
fn a_flame_graph_has_every_path_with_its_sums() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let all = paths(&served.json("/api/flamegraph"), 5);
    assert_eq!(find(&all, "all"), [0, 200, 0]);
    assert_eq!(find(&all, "all/api/main/serve"), [30, 130, 0]);
    assert_eq!(find(&all, "all/api/main/serve/parse"), [100, 100, 1]);
    assert_eq!(find(&all, "all/postgres/main/exec/exec"), [50, 50, 0]);
    let kind = |path: &str| &all.iter().find(|(found, ..)| found == path).unwrap().2;
    assert_eq!(kind("all/api"), "group");
    assert_eq!(kind("all/api/main/do_syscall_64"), "kernel");
    assert_eq!(kind("all/postgres/[truncated]"), "broken");
    assert_eq!(kind("all/postgres/[truncated]/libx.so+0x10"), "unnamed");

    let one = paths(&served.json("/api/flamegraph?service=api&window=1"), 5);
    assert_eq!(find(&one, "all/main"), [0, 40, 0]);
    let threads = paths(&served.json("/api/flamegraph?pid=10&group=thread"), 5);
    assert_eq!(find(&threads, "all/api/gc/main"), [0, 10, 0]);
}

#[test]
fn a_focus_is_sent_with_its_ancestors() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let graph = served.json("/api/flamegraph?focus=%5B%22api%22%2C%22main%22%5D");
    assert_eq!(graph["ancestors"], 2);
    let found: Vec<String> = paths(&graph, 5)
        .into_iter()
        .map(|(path, ..)| path)
        .collect();
    assert_eq!(
        found,
        [
            "all",
            "all/api",
            "all/api/main",
            "all/api/main/serve",
            "all/api/main/serve/parse",
            "all/api/main/do_syscall_64"
        ]
    );
    let (status, body) = served.get("/api/flamegraph?focus=%5B%22nobody%22%5D");
    assert_eq!(status, 404);
    assert!(body.contains("focus"), "{body}");
}

/// What is too small to be seen is left out, its samples are not, and a focus brings it back.
#[test]
fn pruning_keeps_the_sums() {
    let mut builder = Builder::new(at(0), 10);
    let process = builder.process(1, "p", "/bin/p");
    builder.add(
        process,
        "p",
        &["native:p:main", "native:p:large"],
        1_000_000,
    );
    let small: Vec<String> = (0..100).map(|n| format!("native:p:small{n}")).collect();
    for leaf in &small {
        builder.add(process, "p", &["native:p:main", "native:p:few", leaf], 10);
    }
    let served = Served::files(vec![builder.finish()], Limits::VIEWER);
    let graph = served.json("/api/flamegraph?group=none");
    assert_eq!(graph["pruned"], 100);
    assert_eq!(find(&paths(&graph, 5), "all/main/few"), [0, 1_000, 0]);
    let focus = served.json("/api/flamegraph?group=none&focus=%5B%22main%22%2C%22few%22%5D");
    assert_eq!(focus["pruned"], 0);
    assert_eq!(find(&paths(&focus, 5), "all/main/few/small42"), [10, 10, 0]);
}

#[test]
fn more_stacks_than_there_is_room_for_keep_their_samples() {
    let mut builder = Builder::new(at(0), 10);
    let process = builder.process(1, "p", "/bin/p");
    let leaves: Vec<String> = (0..100).map(|n| format!("native:p:leaf{n}")).collect();
    for leaf in &leaves {
        builder.add(process, "p", &["native:p:main", leaf], 1);
    }
    let limits = Limits {
        frames: 40,
        ..Limits::VIEWER
    };
    let served = Served::files(vec![builder.finish()], limits);
    let all = paths(&served.json("/api/flamegraph?group=none"), 5);
    // Two frames each: twenty stacks have room.
    assert_eq!(find(&all, "all"), [0, 100, 0]);
    assert_eq!(find(&all, "all/main")[1], 20);
    assert_eq!(find(&all, "all/[too many stacks]")[0], 80);
}

#[test]
fn two_ranges_and_two_services_are_compared() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let middle = (EPOCH + 10) * 1000;
    let ranges = served.json(&format!(
        "/api/diff?service=api&base_service=api&from={middle}&base_until={middle}"
    ));
    assert_eq!(ranges["samples"], 40);
    assert_eq!(ranges["base_samples"], 100);
    let all = paths(&ranges, 7);
    assert_eq!(find(&all, "all/main/serve"), [0, 40, 0, 30, 90]);
    assert_eq!(find(&all, "all/main/do_syscall_64"), [0, 0, 0, 10, 10]);
    let services = paths(
        &served.json("/api/diff?service=postgres&base_service=api"),
        7,
    );
    assert_eq!(find(&services, "all"), [0, 60, 0, 0, 140]);
    // One file, another: by window.
    let windows = paths(&served.json("/api/diff?window=1&base_window=0"), 7);
    assert_eq!(find(&windows, "all/api"), [0, 40, 0, 0, 100]);
}

#[test]
fn functions_count_recursion_once() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let table = served.json("/api/functions?order=total&service=postgres");
    assert_eq!(table["samples"], 60);
    let row = |name: &str| -> (u64, u64) {
        let rows = table["functions"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        (
            row["self"].as_u64().unwrap(),
            row["total"].as_u64().unwrap(),
        )
    };
    assert_eq!(row("exec"), (50, 50));
    assert_eq!(row("main"), (0, 50));
    let found = served.json("/api/functions?search=SERV");
    assert_eq!(found["found"], 1);
    assert_eq!(found["functions"][0]["name"], "serve");
    let compared = served.json("/api/functions?window=1&base_window=0&search=parse");
    assert_eq!(compared["functions"][0]["base_self"], 60);
    assert_eq!(compared["functions"][0]["self"], 40);
}

#[test]
fn the_selection_is_encoded_in_other_formats() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let (head, bytes) = served.bytes("/api/flamegraph?service=api&format=pprof");
    assert!(
        head.contains("attachment; filename=\"api-20260101t000000z-20260101t000020z.pb.gz\""),
        "{head}"
    );
    let profile = pprof::decode(&bytes, &ReadLimits::default()).unwrap();
    assert_eq!(profile.sample_count(), 140);
    assert_eq!((profile.start, profile.end), (at(0), at(20)));
    let (_, text) = served.get("/api/flamegraph?service=postgres&format=collapsed");
    assert!(
        text.lines().any(|line| line.ends_with("main;exec;exec 50")),
        "{text}"
    );
    let (_, picture) = served.get("/api/flamegraph?format=svg");
    assert!(
        picture.contains("<svg") && picture.contains("200 samples"),
        "{picture}"
    );
}

/// From the store's file to the answer, as the agent has it.
#[test]
fn stored_windows_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
    for profile in two_windows() {
        let bytes = encoding::encode(&profile).unwrap();
        store
            .append(
                profile.start,
                profile.end,
                &WindowSummary::of(&profile),
                &WindowLinks::of(&profile),
                &bytes,
            )
            .unwrap();
    }
    let decode = |bytes: &[u8]| encoding::decode(bytes).ok_or_else(|| "damaged".into());
    let source = LiveSource::new(Arc::new(store), Arc::new(decode));
    let served = Served::new(Arc::new(source), Limits::AGENT);
    let from = EPOCH * 1000;
    let until = (EPOCH + 20) * 1000;
    let list = served.json(&format!("/api/services?from={from}&until={until}"));
    assert_eq!(list["services"][0]["name"], "api");
    assert_eq!(list["losses"], json!({"ring_full": 3}));
    let graph = served.json(&format!("/api/flamegraph?from={from}&until={until}"));
    let all = paths(&graph, 5);
    assert_eq!(find(&all, "all/api/main/serve/parse"), [100, 100, 1]);
    let kind = |path: &str| &all.iter().find(|(found, ..)| found == path).unwrap().2;
    assert_eq!(kind("all/postgres/[truncated]"), "broken");
    assert_eq!(kind("all/postgres/[truncated]/libx.so+0x10"), "unnamed");
    assert_eq!(kind("all/api/main/do_syscall_64"), "kernel");
}

#[test]
fn windows_and_status_are_told() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let windows = served.json("/api/windows");
    assert_eq!(windows["found"], 2);
    assert_eq!(windows["windows"][1]["label"], "file-1.pb.gz");
    assert_eq!(windows["windows"][1]["from"], (EPOCH + 10) * 1000);
    let status = served.json("/api/status");
    assert_eq!(status["live"], false);
    assert_eq!(status["extent"], json!([EPOCH * 1000, (EPOCH + 20) * 1000]));
    assert_eq!(status["agent"]["cpu_seconds"], 1.5);
}

#[test]
fn a_wrong_query_is_refused_with_the_fix() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    assert!(
        served
            .refused("/api/services?from=yesterday")
            .contains("now-15m")
    );
    assert!(
        served
            .refused("/api/flamegraph?form=now")
            .contains("from, until")
    );
    assert!(
        served
            .refused("/api/flamegraph?format=png")
            .contains("pprof")
    );
    assert!(
        served
            .refused("/api/flamegraph?focus=main")
            .contains("JSON array")
    );
    assert!(
        served
            .refused("/api/functions?limit=0")
            .contains("from 1 to")
    );
    assert!(
        served
            .refused("/api/services?from=5&until=4")
            .contains("exchange")
    );
    let limits = Limits {
        windows: 1,
        ..Limits::VIEWER
    };
    let served = Served::files(two_windows(), limits);
    assert!(served.refused("/api/flamegraph").contains("shorter range"));
}

#[test]
fn only_this_machines_own_pages_are_answered() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    let status = |line: &str, headers: &str| served.request(line, headers).0;
    assert_eq!(status("GET /", "Host: localhost:4099\r\n"), 200);
    assert_eq!(status("GET /", "Host: evil.example\r\n"), 421);
    assert_eq!(
        status("GET http://evil.example/", "Host: localhost\r\n"),
        421
    );
    assert_eq!(status("GET /", ""), 421);
    let cross = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(status("GET /api/status", cross), 403);
    assert_eq!(status("GET /", cross), 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let line = format!("{method} /api/status");
        assert_eq!(
            status(&line, "Host: localhost\r\nContent-Length: 0\r\n"),
            405
        );
    }
    for path in [
        "/assets/",
        "/assets",
        "/assets/..%2fmod.rs",
        "/assets/../mod.rs",
        "/etc/passwd",
    ] {
        assert_eq!(
            status(&format!("GET {path}"), "Host: localhost\r\n"),
            404,
            "{path}"
        );
    }
}

#[test]
fn every_answer_has_its_policy() {
    let served = Served::files(two_windows(), Limits::VIEWER);
    for path in [
        "/",
        "/assets/main.js",
        "/api/status",
        "/api/flamegraph?form=x",
        "/nothing",
    ] {
        let (_, head, _) = served.request(&format!("GET {path}"), "Host: localhost\r\n");
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
            "{head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(!head.contains("access-control"), "{head}");
    }
}
