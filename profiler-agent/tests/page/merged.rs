//! Answers over merged windows are those over the windows one by one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use profiler_agent::export::{ReadLimits, pprof};
use profiler_agent::page::{Limits, LiveSource, Source};
use profiler_agent::profile::{
    ArchiveError, ArchivedWindow, LinkFilter, MergedSpan, Profile, ProfileKind, UnixTime, WindowId,
    WindowLinks, WindowSummary,
};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};
use proptest::prelude::*;

use crate::generated::{EPOCH, Sample, Window, profiles, samples, windows};
use crate::served::Served;

fn decode(bytes: &[u8]) -> Result<Profile, ArchiveError> {
    encoding::decode(bytes).ok_or_else(|| "damaged".into())
}

/// The store's windows, with or without the spans merged of them; counts what is read.
struct Counted {
    live: LiveSource,
    has_spans: bool,
    windows: Arc<AtomicUsize>,
    spans: Arc<AtomicUsize>,
}

impl Source for Counted {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        self.live.extent()
    }
    fn kinds(&self) -> Result<Vec<ProfileKind>, ArchiveError> {
        self.live.kinds()
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        self.live.windows(from, until, visit)
    }
    fn linked(
        &self,
        wanted: &LinkFilter,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(WindowId),
    ) -> Result<(), ArchiveError> {
        self.live.linked(wanted, from, until, visit)
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        self.windows.fetch_add(1, Ordering::Relaxed);
        self.live.profile(id)
    }
    fn merged_spans(
        &self,
        from: UnixTime,
        until: UnixTime,
    ) -> Result<Vec<MergedSpan>, ArchiveError> {
        match self.has_spans {
            true => self.live.merged_spans(from, until),
            false => Ok(Vec::new()),
        }
    }
    fn merged_profile(&self, span: &MergedSpan) -> Result<Option<Arc<Profile>>, ArchiveError> {
        self.spans.fetch_add(1, Ordering::Relaxed);
        self.live.merged_profile(span)
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

/// A page over the store, and what it read.
struct Reading {
    served: Served,
    windows: Arc<AtomicUsize>,
    spans: Arc<AtomicUsize>,
}

impl Reading {
    fn new(store: &Arc<Store>, has_spans: bool, limits: Limits) -> Self {
        let (windows, spans) = (Arc::default(), Arc::default());
        let source = Counted {
            live: LiveSource::new(Arc::clone(store) as _, Arc::new(decode)),
            has_spans,
            windows: Arc::clone(&windows),
            spans: Arc::clone(&spans),
        };
        Self {
            served: Served::new(Arc::new(source), limits),
            windows,
            spans,
        }
    }

    /// Windows and spans that were read since it was asked last.
    fn read(&self) -> (usize, usize) {
        let taken = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (taken(&self.windows), taken(&self.spans))
    }
}

fn merge(store: &Store, most: usize) -> usize {
    let never = AtomicBool::new(false);
    let merge = || {
        store
            .merge_next(&decode, (StoreLimits::MERGE_BYTES, &never))
            .unwrap()
    };
    std::iter::from_fn(merge).take(most).count()
}

fn append(store: &Store, profile: &Profile) {
    let bytes = encoding::encode(profile).unwrap();
    let (summary, links) = (WindowSummary::of(profile), WindowLinks::of(profile));
    store
        .append(profile.start, profile.end, &summary, &links, &bytes)
        .unwrap();
}

const QUERIES: &[&str] = &[
    "flamegraph?",
    "flamegraph?group=thread&",
    "flamegraph?group=process&",
    "flamegraph?group=label:endpoint&",
    "flamegraph?service=api&",
    "flamegraph?service=api&group=thread&comm=comm1&",
    "flamegraph?pid=11&label=endpoint:value2&",
    "flamegraph?thread=thread1&",
    "flamegraph?label=user:value1&label=endpoint:value1&",
    "flamegraph?service=nobody&",
    "flamegraph?trace_id=03030303030303030303030303030303&",
    "flamegraph?format=collapsed&",
    "flamegraph?type=off_cpu&",
    "flamegraph?type=off_cpu&format=collapsed&",
    "flamegraph?type=wall&group=thread&",
    "flamegraph?view=hide:function3&view=with:inlined&",
    "flamegraph?view=module:libc.so.6&view=collapse:function2&",
    "diff?service=api&base_service=worker&",
    "diff?type=wall&thread=thread0&base_thread=thread1&",
    "functions?order=total&",
    "functions?service=kernel&",
    "functions?search=function3&base_service=api&order=change&",
    "functions?type=wall&thread=thread0&order=name&",
    "functions?type=off_cpu&sort=ascending&",
    "search?search=function1&",
    "search?search=/inl.*d/&group=process&base_pid=11&",
    "sandwich?function=function3&",
    "sandwich?function=function0&module=api&",
    "sandwich?function=inlined&group=thread&label=endpoint:value2&",
    "sandwich?function=function2&type=wall&",
    "sandwich?function=function5&base_service=api&view=hide:function2&",
    "lines?",
    "lines?function=function3&windows=60&",
    "lines?service=api&module=libc.so.6&windows=5&type=off_cpu&",
    "verdict?",
    "verdict?service=api&",
    "verdict?type=wall&group=process&",
    "labels?",
    "labels?service=api&",
    "labels?thread=thread0&type=off_cpu&",
    "services?points=7&",
    "services?points=7&label=endpoint:value2&",
    "services?points=7&thread=thread1&",
    "services?points=5&type=wall&comm=comm0&",
    "services?points=5&type=off_cpu&pid=10&label=endpoint:value1&",
    "trace?span_id=0505050505050505&",
    "trace?trace_id=03030303030303030303030303030303&type=off_cpu&",
];

/// Asks everything. Where there is no room for all stacks, which have it depends on their order in time, in which the kinds
/// of a range of both are not where spans are read.
fn check_equal(
    merged: &Reading,
    plain: &Reading,
    range: &str,
    has_room: bool,
) -> Result<(), TestCaseError> {
    let asked = QUERIES.iter();
    for query in asked.filter(|query| has_room || !query.contains("type=wall")) {
        let path = format!("/api/{query}{range}");
        let [found, expected] = [merged, plain].map(|page| page.served.get(&path));
        prop_assert_eq!(found, expected, "{}", path);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Windows come, some are merged, some come late, and are merged perhaps; some are damaged. Whatever is asked has the
    /// answer of the windows one by one, with the same limits.
    #[test]
    fn merged_answers_are_those_of_the_windows(
        windows in windows(),
        late in prop::collection::vec((0u64..3_000, samples()), 0..3),
        merges in (0usize..100, 0usize..100),
        ranges in prop::collection::vec((0u64..4_000, 1u64..4_000), 3),
        frames in prop_oneof![3 => Just(1_000_000usize), 1 => 50usize..2_000],
        name_bytes in prop_oneof![3 => Just(1_000_000usize), 1 => 1_000usize..6_000],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path(), StoreLimits::default()).unwrap());
        let mut start = 0;
        for window in &windows {
            start += window.gap;
            profiles(window, start).iter().for_each(|profile| append(&store, profile));
            start += window.length;
        }
        merge(&store, merges.0);
        let is_late = !late.is_empty();
        for (start, samples) in late {
            let window = Window { length: 10, samples, ..Window::default() };
            profiles(&window, start).iter().for_each(|profile| append(&store, profile));
        }
        merge(&store, merges.1);
        // Which stacks have no room depends on their order in time, which late windows are not in.
        let [frames, name_bytes] = if is_late { [1_000_000; 2] } else { [frames, name_bytes] };
        let has_room = [frames, name_bytes] == [1_000_000; 2];
        let limits = Limits { frames, name_bytes, ..Limits::VIEWER };
        let merged = Reading::new(&store, true, limits);
        let plain = Reading::new(&store, false, limits);
        for (from, length) in ranges {
            let (from, until) = (EPOCH + from * 1_000, EPOCH + (from + length) * 1_000);
            check_equal(&merged, &plain, &format!("from={from}&until={until}"), has_room)?;
        }
        let all = format!("from={EPOCH}&until={}", EPOCH + 200_000_000);
        check_equal(&merged, &plain, &all, has_room)?;
    }
}

#[test]
fn samples_of_several_rates_count_as_much_time_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(directory.path(), StoreLimits::default()).unwrap());
    for number in 0..27 {
        let sample = Sample {
            process: 0,
            comm: 0,
            thread: 0,
            frames: vec![1, number % 5],
            label: 2,
            request: None,
            count: 1,
        };
        let window = Window {
            length: 10,
            is_slow: number == 0,
            samples: vec![sample],
            ..Window::default()
        };
        append(&store, &profiles(&window, u64::from(number) * 10)[0]);
    }
    merge(&store, usize::MAX);
    let until = EPOCH + 1_000_000;
    let services = format!("services?points=1&label=endpoint:value2&from={EPOCH}&until={until}");
    let labels = format!("labels?from={EPOCH}&until={until}");
    let flamegraph = format!("flamegraph?from={EPOCH}&until={until}");
    for has_spans in [true, false] {
        let page = Reading::new(&store, has_spans, Limits::VIEWER);
        let get = |query: &str| -> serde_json::Value {
            let (status, text) = page.served.get(&format!("/api/{query}"));
            assert_eq!(status, 200, "{text}");
            serde_json::from_str(&text).unwrap()
        };
        // One of 1/19 s and 26 of 1/99 s are 0.3152 s: 5.99 of 1/19 s.
        let list = get(&services);
        assert_eq!(list["samples"], 6, "{list}");
        assert_eq!(list["timeline"][0], 5.99, "{list}");
        assert_eq!(list["services"][0]["samples"], 6, "{list}");
        assert_eq!(list["services"][0]["processes"][0]["samples"], 6, "{list}");
        assert_eq!(get(&labels)["keys"][0]["values"][0]["samples"], 6);
        let graph = get(&flamegraph);
        assert_eq!(graph["samples"], 6, "{graph}");
    }
}

/// Windows of 10 s with a sample each, merged.
fn filled(directory: &Path, count: u64) -> Arc<Store> {
    let store = Arc::new(Store::open(directory, StoreLimits::default()).unwrap());
    for number in 0..count {
        let sample = |frames: &[u8]| Sample {
            process: 0,
            comm: 0,
            thread: 0,
            frames: frames.to_vec(),
            label: 0,
            request: Some((number % 9) as u8),
            count: 1,
        };
        let window = Window {
            length: 10,
            samples: vec![sample(&[1, 2, 3]), sample(&[4, 2, 3])],
            ..Window::default()
        };
        append(&store, &profiles(&window, number * 10)[0]);
    }
    merge(&store, usize::MAX);
    store
}

#[test]
fn a_long_range_reads_spans_and_the_windows_at_its_edges() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), 800);
    let page = Reading::new(&store, true, Limits::AGENT);
    // Two minutes and 25 s up to the second hour, that hour, ten minutes, a minute and 15 s.
    let range = format!("from={}&until={}", EPOCH + 3_455_000, EPOCH + 7_875_000);
    for query in ["flamegraph", "functions", "labels"] {
        let answer = page.served.json(&format!("/api/{query}?{range}"));
        assert_eq!(answer["samples"], 2 * (443), "{query}");
        assert_eq!(answer["damaged_windows"], 0);
    }
    // Read once: what is kept knows which windows it is of.
    assert_eq!(page.read(), (3 + 2, 2 + 1 + 1 + 1));
    // Links and addresses are those of the windows.
    let whole = format!("from={EPOCH}&until={}", EPOCH + 8_000_000);
    let trace = page
        .served
        .json(&format!("/api/trace?{whole}&span_id=0505050505050505"));
    assert_eq!(trace["windows"], 89);
    assert_eq!(page.read(), (89, 0));
    let (_, bytes) = page
        .served
        .bytes(&format!("/api/flamegraph?{range}&format=pprof"));
    let profile = pprof::decode(&bytes, &ReadLimits::default()).unwrap();
    assert!(
        profile
            .locations
            .iter()
            .any(|location| location.address == 64)
    );
    assert!(profile.samples.iter().all(|sample| sample.link.is_some()));
    assert_eq!(page.read(), (443, 0));
}

#[test]
fn a_damaged_span_is_answered_from_its_windows() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path(), 100));
    let chunks: redb::TableDefinition<'_, (u8, u64, u32), &[u8]> =
        redb::TableDefinition::new("merged_chunks");
    let database = redb::Database::open(directory.path().join(Store::FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(chunks).unwrap();
    table.retain(|(level, ..), _| level != 1).unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let store = Arc::new(Store::open(directory.path(), StoreLimits::default()).unwrap());
    let page = Reading::new(&store, true, Limits::AGENT);
    let range = format!("from={EPOCH}&until={}", EPOCH + 600_000);
    let graph = page.served.json(&format!("/api/flamegraph?{range}"));
    assert_eq!(
        (&graph["samples"], &graph["damaged_windows"]),
        (&120.into(), &0.into())
    );
    assert_eq!(page.read(), (60, 1));
    assert_eq!(store.damages(), 1, "the span counts");
    // It is merged again.
    assert_eq!(merge(&store, usize::MAX), 1);
    let again = page
        .served
        .json(&format!("/api/functions?{range}&base_service=api"));
    assert_eq!(again["samples"], 120);
    assert_eq!(page.read().0, 0);
}
