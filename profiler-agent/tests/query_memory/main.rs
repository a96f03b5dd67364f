//! What queries over the agent's store take of memory, counted by the allocator.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

#[path = "../demo/mod.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod demo;
#[path = "../page/served.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod served;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use profiler_agent::page::{Limits, LiveSource};
use profiler_agent::profile::{ArchiveError, Profile, UnixTime, WindowLinks, WindowSummary};
use profiler_agent::store::{Limits as StoreLimits, MergeOutcome, Store, encoding};

use demo::Builder;
use served::Served;

/// The system's allocator, and how much of it is in use.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn taken(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call is the system's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(place, layout) }
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while the content moves.
        taken(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;
/// What one query may take, with the client's copy of the answer.
const BUDGET: usize = 100 * MIB;
/// What merging may take: what is merged, a window of it, and both once more as bytes.
const MERGE_BUDGET: usize = 60 * MIB;
/// 2026-01-01T00:00:00Z in ms.
const EPOCH: u64 = 1_767_225_600_000;
const WINDOWS: u64 = 24;
/// Distinct stacks of a window, half of which are in no other window.
const STACKS: u64 = 4_000;

/// A window of a machine on which much is done, no two times the same.
fn window(number: u64, names: &[String]) -> Profile {
    let start = UnixTime((EPOCH + number * 10_000) * 1_000_000);
    let mut window = Builder::new(start, 10);
    let services: Vec<u32> = (0..8)
        .map(|n| window.process(100 + n, "worker", &format!("/usr/bin/service-{n}")))
        .collect();
    for stack in 0..STACKS {
        let own = if stack < STACKS / 2 { 0 } else { number + 1 };
        let mut state =
            stack.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ own.wrapping_mul(0xff51_afd7_ed55_8ccd);
        let frames: Vec<&str> = (0..40)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                names[(state >> 40) as usize % names.len()].as_str()
            })
            .collect();
        window.add(
            services[stack as usize % 8],
            "worker",
            &frames,
            1 + stack % 5,
        );
    }
    window.finish()
}

#[test]
fn queries_work_within_their_budget() {
    let names: Vec<String> = (0..6_000)
        .map(|n| {
            format!(
                "rust:service:module{}::Component{}::operation_{n}",
                n % 37,
                n % 411
            )
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreLimits::default()).unwrap();
    for number in 0..WINDOWS {
        let profile = window(number, &names);
        let bytes = encoding::encode(&profile).unwrap();
        let (summary, links) = (WindowSummary::of(&profile), WindowLinks::of(&profile));
        store
            .append(profile.start, profile.end, &summary, &links, &bytes)
            .unwrap();
    }
    let store = Arc::new(store);
    check(&store);
    let never = AtomicBool::new(false);
    loop {
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let merged = store
            .merge_next(&decode, (StoreLimits::MERGE_BYTES, &never))
            .unwrap();
        let peak = PEAK.load(Ordering::Relaxed) - before;
        println!("{merged:?}: peak {} MiB", peak / MIB);
        assert!(peak < MERGE_BUDGET);
        if merged.is_none() {
            break;
        }
    }
    assert_eq!(store.merges().of(MergeOutcome::Merged), 3);
    check(&store);
}

fn decode(bytes: &[u8]) -> Result<Profile, ArchiveError> {
    encoding::decode(bytes).ok_or_else(|| "damaged".into())
}

/// Asks what the page asks.
fn check(store: &Arc<Store>) {
    let source = LiveSource::new(Arc::clone(store) as _, Arc::new(decode));
    let served = Served::new(Arc::new(source), Limits::AGENT);
    let range = format!("from={EPOCH}&until={}", EPOCH + WINDOWS * 10_000);
    let before = NOW.load(Ordering::Relaxed);
    for (query, expected) in [
        ("services?label=a:b&", 200),
        ("flamegraph?", 200),
        ("diff?base_service=service-2&service=service-1&", 200),
        ("flamegraph?format=pprof&", 200),
        ("flamegraph?format=collapsed&", 400),
        ("flamegraph?format=collapsed&service=service-1&", 200),
        ("flamegraph?format=svg&service=service-1&", 200),
    ] {
        PEAK.store(NOW.load(Ordering::Relaxed), Ordering::Relaxed);
        let began = std::time::Instant::now();
        let (status, body) = served.raw(&format!("/api/{query}{range}"));
        let kept = NOW.load(Ordering::Relaxed) - body.capacity();
        let peak = PEAK.load(Ordering::Relaxed);
        println!(
            "{query:50} {status} peak {:4} MiB, answer {:6} KiB, stays {:4} MiB, {:?}",
            (peak.saturating_sub(before)) / MIB,
            body.len() >> 10,
            kept.saturating_sub(before) / MIB,
            began.elapsed()
        );
        assert_eq!(status, expected, "{query}");
        assert!(peak.saturating_sub(before) < BUDGET, "{query}");
    }
}
