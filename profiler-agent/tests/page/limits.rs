//! What one query may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use profiler_agent::page::{Limits, SavedSource, Source};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId};

use crate::demo::{Builder, shop};
use crate::devtools::Browser;
use crate::served::Served;

fn served(limits: Limits) -> Served {
    let profile = shop::many_stacks(UnixTime(1_767_225_600_000_000_000), 300);
    let source = SavedSource::new([("saved.pb.gz".to_owned(), 100, profile)]);
    Served::new(Arc::new(source), limits)
}

#[test]
fn text_beyond_its_limit_is_refused_with_the_fix() {
    let whole = served(Limits::VIEWER).get("/api/flamegraph?format=collapsed");
    assert_eq!(whole.0, 200);
    let limits = |text_bytes| Limits {
        text_bytes,
        ..Limits::VIEWER
    };
    // What is let through is never longer than the limit.
    let tight = served(limits(whole.1.len() - 1));
    for format in ["collapsed", "svg"] {
        let error = tight.refused(&format!("/api/flamegraph?format={format}"));
        assert!(error.contains("choose a shorter range"), "{error}");
    }
    assert_eq!(tight.raw("/api/flamegraph?format=pprof").0, 200);
    assert_eq!(
        served(limits(2 * whole.1.len())).get("/api/flamegraph?format=collapsed"),
        whole
    );
}

#[test]
fn a_profile_beyond_its_limit_is_refused_and_drawn() {
    let limits = Limits {
        profile_bytes: 10_000,
        ..Limits::VIEWER
    };
    let served = served(limits);
    for format in ["collapsed", "svg", "pprof"] {
        let error = served.refused(&format!("/api/flamegraph?format={format}"));
        assert!(error.contains("choose a shorter range"), "{error}");
    }
    assert!(served.json("/api/flamegraph")["samples"].as_u64() > Some(300));
}

/// Counts the profiles that are read.
struct Counting(SavedSource, Arc<AtomicUsize>);

impl Source for Counting {
    fn live(&self) -> bool {
        false
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        self.0.extent()
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        self.0.windows(from, until, visit)
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.profile(id)
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

/// Twenty windows of 10 s with a sample each, and how many profiles of them were read.
fn counted() -> (Arc<Counting>, Arc<AtomicUsize>) {
    let windows = (0..20u64).map(|number| {
        let start = UnixTime(1_767_225_600_000_000_000 + number * 10_000_000_000);
        let mut window = Builder::new(start, 10);
        let api = window.process(10, "api-main", "/usr/bin/api");
        window.add(api, "worker", &["go:api:main"], 1);
        (String::new(), 100, window.finish())
    });
    let read = Arc::new(AtomicUsize::new(0));
    let source = Counting(SavedSource::new(windows), Arc::clone(&read));
    (Arc::new(source), read)
}

#[test]
fn the_stacks_of_a_few_queries_are_kept() {
    let (source, read) = counted();
    let served = Served::new(source, Limits::VIEWER);
    let reads = |window: usize| {
        let before = read.load(Ordering::Relaxed);
        served.json(&format!("/api/flamegraph?window={window}"));
        read.load(Ordering::Relaxed) - before
    };
    assert_eq!((0..17).map(reads).sum::<usize>(), 17);
    assert_eq!(reads(16) + reads(1), 0, "these are kept");
    assert_eq!(reads(0), 1, "sixteen others came since");
}

#[test]
fn a_query_without_memory_is_told_so_and_what_is_kept_goes() {
    let (source, read) = counted();
    let short = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&short);
    let is_short = Arc::new(move || flag.load(Ordering::Relaxed));
    let served = Served::short(source, Limits::AGENT, is_short);
    let reads = || {
        let before = read.load(Ordering::Relaxed);
        let graph = served.json("/api/flamegraph");
        assert_eq!(graph["samples"], 20);
        read.load(Ordering::Relaxed) - before
    };
    assert_eq!((reads(), reads()), (20, 0));
    short.store(true, Ordering::Relaxed);
    for query in [
        "flamegraph",
        "flamegraph?format=pprof",
        "services",
        "functions",
        "search?search=a",
        "sandwich?function=main",
        "lines",
        "labels",
        "verdict",
        "windows",
    ] {
        let line = format!("GET /api/{query}");
        let (status, head, body) = served.request(&line, "Host: localhost\r\n");
        assert_eq!(status, 503, "{query}: {body}");
        assert!(head.contains("retry-after: 5"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let error = body["error"].as_str().unwrap();
        assert!(error.contains("has no memory for this query"), "{error}");
    }
    // What says how the agent does is said all the same.
    assert_eq!(served.json("/api/status")["agent"]["cpu_seconds"], 1.5);
    short.store(false, Ordering::Relaxed);
    assert_eq!(reads(), 20, "nothing was kept");
}

#[test]
fn the_page_says_that_memory_is_short_and_tries_again() {
    let (source, _) = counted();
    let short = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&short);
    let is_short = Arc::new(move || flag.load(Ordering::Relaxed));
    let served = Served::short(source, Limits::AGENT, is_short);
    let mut browser = Browser::start(1280, 800);
    browser.page(&served, "");
    browser.until("document.querySelector('#message button')");
    let said = browser.text_of("#message");
    assert!(said.contains("has no memory for this query"), "{said}");
    short.store(false, Ordering::Relaxed);
    browser.press("#message button");
    browser.drawn();
    browser.until("document.querySelector('#message').hidden");
}

#[test]
fn names_that_have_no_room_keep_their_samples() {
    let mut builder = Builder::new(UnixTime(1_767_225_600_000_000_000), 10);
    let api = builder.process(10, "api-main", "/usr/bin/api");
    for number in 0..100 {
        let long = format!("go:api:{number:0500}");
        builder.add(api, "worker", &["go:api:main", &long], 1);
    }
    // What nobody asks for takes nothing.
    let other = builder.process(20, "other", "/usr/bin/other");
    for number in 0..100 {
        let long = format!("go:other:{number:05000}");
        builder.add(other, "worker", &[&long], 1);
    }
    let limits = Limits {
        name_bytes: 20_000,
        ..Limits::VIEWER
    };
    let served = Served::files(vec![builder.finish()], limits);
    let graph = served.json("/api/flamegraph?service=api");
    assert_eq!(graph["samples"], 100);
    let paths = crate::api::paths(&graph, 5);
    let total = |path: &str| {
        let found = paths.iter().find(|(found, ..)| found == path);
        found.map_or(0, |(_, numbers, _)| numbers[1])
    };
    // Each takes 500 letters and what lies around them.
    assert!((25..40).contains(&total("all/main")), "{paths:?}");
    assert_eq!(total("all/main") + total("all/[too many stacks]"), 100);
    let lines = served.json("/api/lines?service=api");
    let names = lines["lines"].as_array().unwrap().len();
    assert!((25..41).contains(&names), "{names}");
}

#[test]
fn windows_without_the_service_are_not_read() {
    let windows = (0..20u64).map(|number| {
        let start = UnixTime(1_767_225_600_000_000_000 + number * 10_000_000_000);
        let mut window = Builder::new(start, 10);
        let api = window.process(10, "api-main", "/usr/bin/api");
        window.add(api, "worker", &["go:api:main"], 10);
        if number == 7 {
            let db = window.process(20, "db", "/usr/bin/db");
            window.add(db, "worker", &["go:db:main"], 3);
        }
        (String::new(), 100, window.finish())
    });
    let read = Arc::new(AtomicUsize::new(0));
    let source = Counting(SavedSource::new(windows), Arc::clone(&read));
    let served = Served::new(Arc::new(source), Limits::AGENT);
    let reads = |query: &str| {
        let before = read.load(Ordering::Relaxed);
        let answer = served.json(&format!("/api/flamegraph?{query}"));
        let reads = read.load(Ordering::Relaxed) - before;
        (answer["samples"].as_u64().unwrap(), reads)
    };
    assert_eq!(reads("service=db"), (3, 1));
    assert_eq!(reads("pid=20&comm=db"), (3, 1));
    assert_eq!(reads("pid=20&comm=api-main"), (0, 0));
    assert_eq!(reads("service=nothing"), (0, 0));
    assert_eq!(reads("service=api"), (200, 20));
    assert_eq!(reads(""), (203, 20));
}
