//! Answers over merged windows are those over the windows one by one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use profiler_agent::export::{ReadLimits, pprof};
use profiler_agent::page::{Limits, LiveSource, Source};
use profiler_agent::profile::{
    ArchiveError, ArchivedWindow, BootTime, FrameType, Function, Label, LabelSet, LineEntry, Link,
    LinkFilter, Location, LocationIndex, LocationKind, Mapping, MergedSpan, Occurrences, Process,
    ProcessKey, Profile, ProfileBuilder, SampleKey, SampleKind, SamplePeriod, Thread, UnixTime,
    WindowId, WindowLinks, WindowSummary,
};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};
use proptest::prelude::*;

use crate::served::Served;

/// 2026-01-01T00:00:00Z in ms.
const EPOCH: u64 = 1_767_225_600_000;
const NANOSECONDS: u64 = 1_000_000;

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

/// A sample of few possible ones: process, its name, thread, frames, label, request, count.
#[derive(Clone, Debug)]
struct Sample {
    process: u8,
    comm: u8,
    thread: u8,
    frames: Vec<u8>,
    label: u8,
    request: Option<u8>,
    count: u8,
}

/// A window: time since the end of the one before and its own length in s, is it at another rate, its samples.
#[derive(Clone, Debug)]
struct Window {
    gap: u64,
    length: u64,
    is_slow: bool,
    samples: Vec<Sample>,
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let frames = prop::collection::vec(0u8..40, 0..6);
    let sample = (
        0u8..4,
        0u8..2,
        0u8..3,
        frames,
        0u8..4,
        prop::option::of(0u8..9),
        1u8..9,
    );
    let sample = sample.prop_map(
        |(process, comm, thread, frames, label, request, count)| Sample {
            process,
            comm,
            thread,
            frames,
            label,
            request,
            count,
        },
    );
    prop::collection::vec(sample, 0..9)
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let gap = prop_oneof![8 => Just(0u64), 1 => 0u64..40, 1 => 500u64..2_000];
    let window = (gap, 5u64..40, prop::bool::weighted(0.03), samples());
    let window = window.prop_map(|(gap, length, is_slow, samples)| Window {
        gap,
        length,
        is_slow,
        samples,
    });
    prop::collection::vec(window, 20..110)
}

/// A frame: equal in its function with others at another address, or in its name with others of another file.
fn location(builder: &mut ProfileBuilder, number: u8) -> LocationIndex {
    let kernel = number.is_multiple_of(7);
    let broken = number == 39;
    let files = ["/usr/bin/api", "/lib/libc.so.6"];
    let mapping = Mapping {
        file: if kernel {
            "[kernel]"
        } else {
            files[usize::from(number % 2)]
        }
        .into(),
        memory_start: 0x1000,
        memory_limit: 0x10_0000,
        file_offset: 0,
        build_id: None,
        htl_hash: None,
    };
    let mapping = (!broken).then(|| builder.mapping(mapping));
    let mut line = |name: String, line| LineEntry {
        function: builder.function(Function {
            name: name.as_str().into(),
            system_name: format!("_Z{name}").into(),
            file: if number.is_multiple_of(5) {
                "src/main.go"
            } else {
                "src/main.rs"
            }
            .into(),
            start_line: 3,
        }),
        line,
        column: 1,
    };
    let name = if broken {
        "[truncated]".to_owned()
    } else {
        format!("function{}", number / 4)
    };
    let mut lines = vec![line(name, u32::from(number))];
    if number % 6 == 1 {
        lines.insert(0, line("inlined".to_owned(), 9));
    }
    builder.location(Location {
        mapping,
        address: u64::from(number) * 16,
        lines: lines.into(),
        frame_type: if kernel {
            FrameType::Kernel
        } else {
            FrameType::Native
        },
        kind: LocationKind::Named,
    })
}

fn profile(window: &Window, start: u64) -> Profile {
    let mut builder = ProfileBuilder::default();
    let period = SamplePeriod::from_hertz(if window.is_slow { 19 } else { 99 });
    let start = UnixTime((EPOCH + start * 1_000) * NANOSECONDS);
    for sample in &window.samples {
        let executable = ["/usr/bin/api", "/opt/api", "/usr/bin/worker", ""];
        let executable = executable[usize::from(sample.process)];
        let process = builder.process(Arc::new(Process {
            key: ProcessKey {
                pid: 10 + u32::from(sample.process % 3),
                started: BootTime(0),
            },
            parent: 0,
            comm: format!("comm{}", sample.comm).into(),
            executable: executable.into(),
            cgroup: "".into(),
            container: None,
            kernel: executable.is_empty(),
            resource: Arc::default(),
        }));
        let thread = builder.thread(Thread {
            process,
            tid: 100 + u32::from(sample.thread),
            name: format!("thread{}", sample.thread / 2).into(),
        });
        let frames = sample.frames.iter();
        let stack: Vec<_> = frames
            .map(|number| location(&mut builder, *number))
            .collect();
        let stack = builder.stack(&stack);
        let label = |key: &str, value: u8| Label {
            key: key.into(),
            value: format!("value{value}").into(),
        };
        let labels: Box<[Label]> = match sample.label {
            0 => Box::default(),
            1 => Box::new([label("endpoint", 1), label("user", sample.thread)]),
            other => Box::new([label("endpoint", other)]),
        };
        let labels = builder.labels(LabelSet {
            labels,
            goroutine: sample.request.map(u64::from),
        });
        let link = sample.request.map(|request| Link {
            trace_id: [request + 1; 16],
            span_id: [request + 1; 8],
        });
        let times = vec![UnixTime(start.0 + 1_000); usize::from(sample.count)];
        let taken = Occurrences::equal(period.nanoseconds(), times);
        let key = SampleKey {
            labels,
            link,
            ..SampleKey::new(thread, stack)
        };
        builder.taken(key, &taken);
    }
    let end = UnixTime(start.0 + window.length * 1_000 * NANOSECONDS);
    builder.finish(start, end, SampleKind::on_cpu(period))
}

const QUERIES: [&str; 18] = [
    "flamegraph?",
    "flamegraph?group=thread&",
    "flamegraph?service=api&",
    "flamegraph?service=api&group=thread&comm=comm1&",
    "flamegraph?pid=11&label=endpoint:value2&",
    "flamegraph?label=user:value1&label=endpoint:value1&",
    "flamegraph?service=nobody&",
    "flamegraph?trace_id=03030303030303030303030303030303&",
    "flamegraph?format=collapsed&",
    "diff?service=api&base_service=worker&",
    "functions?order=total&",
    "functions?service=kernel&",
    "functions?search=function3&base_service=api&order=change&",
    "labels?",
    "labels?service=api&",
    "services?points=7&",
    "services?points=7&label=endpoint:value2&",
    "trace?span_id=0505050505050505&",
];

fn check_equal(merged: &Reading, plain: &Reading, range: &str) -> Result<(), TestCaseError> {
    for query in QUERIES {
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
    ) {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path(), StoreLimits::default()).unwrap());
        let mut start = 0;
        for window in &windows {
            start += window.gap;
            append(&store, &profile(window, start));
            start += window.length;
        }
        merge(&store, merges.0);
        let is_late = !late.is_empty();
        for (start, samples) in late {
            let window = Window { gap: 0, length: 10, is_slow: false, samples };
            append(&store, &profile(&window, start));
        }
        merge(&store, merges.1);
        // Which stacks have no room depends on their order in time, which late windows are not in.
        let frames = if is_late { 1_000_000 } else { frames };
        let limits = Limits { frames, ..Limits::VIEWER };
        let merged = Reading::new(&store, true, limits);
        let plain = Reading::new(&store, false, limits);
        for (from, length) in ranges {
            let (from, until) = (EPOCH + from * 1_000, EPOCH + (from + length) * 1_000);
            check_equal(&merged, &plain, &format!("from={from}&until={until}"))?;
        }
        check_equal(&merged, &plain, &format!("from={EPOCH}&until={}", EPOCH + 200_000_000))?;
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
            gap: 0,
            length: 10,
            is_slow: number == 0,
            samples: vec![sample],
        };
        append(&store, &profile(&window, u64::from(number) * 10));
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
            gap: 0,
            length: 10,
            is_slow: false,
            samples: vec![sample(&[1, 2, 3]), sample(&[4, 2, 3])],
        };
        append(&store, &profile(&window, number * 10));
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
