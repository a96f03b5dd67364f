//! A window of the store with one damaged byte.

use std::path::Path;
use std::sync::Arc;

use profiler_agent::export::{ReadLimits, pprof};
use profiler_agent::page::{Limits, LiveSource};
use profiler_agent::profile::{Profile, UnixTime, WindowLinks, WindowSummary};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};

use crate::demo::Builder;
use crate::served::Served;

/// 2026-01-01T00:00:00Z in ms.
const EPOCH: u64 = 1_767_225_600_000;

/// Three windows of 10 s: 10, 20 and 40 samples of `api`.
fn windows() -> Vec<Profile> {
    let window = |number: u64| {
        let start = UnixTime((EPOCH + number * 10_000) * 1_000_000);
        let mut window = Builder::new(start, 10);
        let api = window.process(10, "api-main", "/usr/bin/api");
        window.add(api, "worker", &["go:api:main"], 10 << number);
        window.finish()
    };
    (0..3).map(window).collect()
}

/// Stores the windows; changes a byte in the middle of the second one's profile.
fn damage(directory: &Path) {
    let store = Store::open(directory, StoreLimits::default()).unwrap();
    let mut encoded = Vec::new();
    for profile in windows() {
        let bytes = encoding::encode(&profile).unwrap();
        let (summary, links) = (WindowSummary::of(&profile), WindowLinks::of(&profile));
        store
            .append(profile.start, profile.end, &summary, &links, &bytes)
            .unwrap();
        encoded.push(bytes);
    }
    drop(store);
    let path = directory.join(Store::FILE);
    let mut file = std::fs::read(&path).unwrap();
    let part = &encoded[1][encoded[1].len() / 2..];
    // Pages that are no longer in use may have it too.
    let found = (0..file.len()).filter(|place| file[*place..].starts_with(part));
    let found: Vec<usize> = found.collect();
    assert!(!found.is_empty());
    found.into_iter().for_each(|place| file[place] ^= 1);
    std::fs::write(&path, file).unwrap();
}

#[test]
fn a_damaged_window_is_left_out_and_told() {
    let directory = tempfile::tempdir().unwrap();
    damage(directory.path());
    let store = Arc::new(Store::open(directory.path(), StoreLimits::default()).unwrap());
    let decode = |bytes: &[u8]| encoding::decode(bytes).ok_or_else(|| "damaged".into());
    let source = LiveSource::new(Arc::clone(&store) as _, Arc::new(decode));
    let served = Served::new(Arc::new(source), Limits::AGENT);
    let range = format!("from={EPOCH}&until={}", EPOCH + 30_000);
    // The second time from the stacks that were kept.
    for _ in 0..2 {
        for query in ["flamegraph", "functions", "labels"] {
            let answer = served.json(&format!("/api/{query}?{range}"));
            assert_eq!(answer["damaged_windows"], 1, "{query}");
            assert_eq!(answer["samples"], 50, "{query}");
        }
        assert_eq!(store.damages(), 1, "it counts once");
    }
    let (head, bytes) = served.bytes(&format!("/api/flamegraph?{range}&format=pprof"));
    assert!(head.contains("profiler-damaged-windows: 1"), "{head}");
    let profile = pprof::decode(&bytes, &ReadLimits::default()).unwrap();
    assert_eq!(profile.sample_count(), 50);
    // Its numbers are beside its profile.
    let services = served.json(&format!("/api/services?{range}"));
    assert_eq!(services["damaged_windows"], 0);
    assert_eq!(services["samples"], 70);
    let narrowed = served.json(&format!("/api/services?{range}&label=a:b"));
    assert_eq!(narrowed["damaged_windows"], 1);
    // Without it everything is as it always was.
    let range = format!("from={EPOCH}&until={}", EPOCH + 10_000);
    let graph = served.json(&format!("/api/flamegraph?{range}"));
    assert_eq!(
        (&graph["damaged_windows"], &graph["samples"]),
        (&0.into(), &10.into())
    );
}
