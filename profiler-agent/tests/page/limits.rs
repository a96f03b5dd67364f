//! What one query may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use profiler_agent::page::{Limits, SavedSource, Source};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId};

use crate::demo::{Builder, shop};
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
