//! What one query may take.

use std::sync::Arc;

use profiler_agent::page::{Limits, SavedSource};
use profiler_agent::profile::UnixTime;

use crate::demo::shop;
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
