//! Spans of merged windows: they stand for exactly the windows that are there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use profiler_agent::profile::{
    ArchiveError, BootTime, MergedSpan, Occurrences, Process, ProcessKey, Profile, ProfileBuilder,
    ProfileKind, SampleKey, SampleKind, SamplePeriod, Thread, UnixTime, WindowArchive, WindowId,
    WindowLinks,
};
use profiler_agent::store::{Limits, MergeOutcome, Store};
use redb::{ReadableTable, TableDefinition};

use super::{SECOND, all, append, check_whole, content, made_into, summary};

/// CPU time that a sample stands for.
const PERIOD: SamplePeriod = SamplePeriod::from_hertz(99);
/// What no profile is made of.
const DAMAGED: &[u8] = b"damaged";

/// What stands for the profile of a window: as many samples as there are bytes.
fn decode(bytes: &[u8]) -> Result<Profile, ArchiveError> {
    if bytes == DAMAGED {
        return Err("it is damaged".into());
    }
    let mut builder = ProfileBuilder::default();
    let stack = builder.stack(&[]);
    let process = builder.process(Arc::new(Process {
        key: ProcessKey {
            pid: 1,
            started: BootTime(0),
        },
        parent: 0,
        comm: "made-up".into(),
        executable: "/usr/bin/only-in-merged".into(),
        cgroup: "".into(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    }));
    let thread = builder.thread(Thread {
        process,
        tid: 1,
        name: "made-up".into(),
    });
    let count = bytes.len() as u64;
    let key = SampleKey::new(thread, stack);
    builder.sample(
        key,
        (count, count * PERIOD.nanoseconds()),
        &Occurrences::default(),
    );
    Ok(builder.finish(UnixTime(0), UnixTime(1), SampleKind::on_cpu(PERIOD)))
}

/// Merges what is over; how often there was something.
pub(super) fn merge_all(store: &Store) -> usize {
    let never = AtomicBool::new(false);
    let merge = || {
        store
            .merge_next(&decode, (Limits::MERGE_BYTES, &never))
            .unwrap()
    };
    std::iter::from_fn(merge).count()
}

fn spans(store: &Store) -> Vec<MergedSpan> {
    store.merged_spans(UnixTime(0), UnixTime(u64::MAX)).unwrap()
}

/// Every span stands for the windows that start within it, and has their samples.
pub(super) fn check_spans(store: &Store) -> Vec<MergedSpan> {
    let windows = all(store);
    let spans = spans(store);
    for span in &spans {
        let length = [60, 600, 3_600][usize::from(span.level)] * SECOND;
        let within = |start: UnixTime| (span.start.0..span.start.0 + length).contains(&start.0);
        let mut there: Vec<_> = windows.iter().filter(|w| within(w.start)).collect();
        there.sort_by_key(|window| window.id);
        let ids: Vec<WindowId> = there.iter().map(|window| window.id).collect();
        assert_eq!(span.windows, ids, "{span:?}");
        let samples: u64 = there.iter().map(|window| window.bytes).sum();
        let profile = store.read_merged(span).unwrap().unwrap();
        assert_eq!(profile.sample_count(), samples, "{span:?}");
    }
    assert_eq!(store.size().merged_spans, spans.len() as u64);
    spans
}

fn append_at(store: &Store, start: u64, bytes: &[u8]) -> WindowId {
    let (start, end) = (UnixTime(start * SECOND), UnixTime((start + 10) * SECOND));
    let links = WindowLinks::default();
    store
        .append(start, end, &summary(1), &links, bytes)
        .unwrap()
}

fn levels(spans: &[MergedSpan]) -> [usize; 3] {
    [0, 1, 2].map(|level| spans.iter().filter(|span| span.level == level).count())
}

#[test]
fn windows_that_are_over_are_merged_and_stay_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(merge_all(&store), 0);
    // An hour and ten minutes of windows of 10 s.
    for number in 0..420 {
        append_at(&store, number * 10, &content(number + 1, 200));
    }
    assert_eq!(merge_all(&store), 69 + 6 + 1);
    assert_eq!(levels(&check_spans(&store)), [69, 6, 1]);
    assert_eq!(store.merges().of(MergeOutcome::Merged), 76);
    let size = store.size();
    assert!(size.merged_bytes > 0 && size.merged_bytes < size.used_bytes);
    // The last minute and the last ten are over when windows came beside them.
    append_at(&store, 4_200, &[1]);
    append_at(&store, 4_210, &[1]);
    append_at(&store, 4_220, &[1]);
    assert_eq!(merge_all(&store), 2);
    drop(store);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(levels(&check_spans(&store)), [70, 7, 1]);
    assert_eq!(merge_all(&store), 0);
    // Only what overlaps a range is named: here with the windows that go on into it.
    let found = store
        .merged_spans(UnixTime(605 * SECOND), UnixTime(660 * SECOND))
        .unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|span| (span.level, span.start.0 / SECOND))
        .collect();
    assert_eq!(found, [(0, 540), (0, 600), (1, 0), (1, 600), (2, 0)]);
}

#[test]
fn a_late_window_is_merged_when_it_is_quiet() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 0..420 {
        append_at(&store, number * 10, &[1]);
    }
    merge_all(&store);
    let before = spans(&store);
    let late = append_at(&store, 65, &[1, 2]);
    let gone = [(0, 60), (1, 0), (2, 0)];
    let now: Vec<_> = spans(&store);
    assert_eq!(now.len(), before.len() - gone.len());
    let key = |span: &MergedSpan| (span.level, span.start.0 / SECOND);
    assert!(now.iter().all(|span| !gone.contains(&key(span))));
    // What was named before stands for other windows: it is not read.
    let stale = before.iter().find(|span| key(span) == (1, 0)).unwrap();
    assert!(store.read_merged(stale).unwrap().is_none());
    assert_eq!(merge_all(&store), 0);
    for number in 420..423 {
        append_at(&store, number * 10, &[1]);
    }
    merge_all(&store);
    let now = check_spans(&store);
    let again = now.iter().find(|span| key(span) == (2, 0)).unwrap();
    assert!(again.windows.contains(&late));
    assert!(store.read_merged(stale).unwrap().is_none());
}

#[test]
fn spans_go_with_the_first_of_their_windows() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_age: Duration::from_secs(1_800),
        ..Limits::default()
    };
    let store = Store::open(directory.path(), limits).unwrap();
    for number in 0..900 {
        append_at(&store, number * 10, &[1]);
        merge_all(&store);
        if number % 50 == 0 {
            check_spans(&store);
        }
    }
    let spans = check_spans(&store);
    let oldest = all(&store)[0].start;
    assert!(spans.iter().all(|span| span.start >= oldest), "{oldest:?}");
    assert!(levels(&spans)[1] >= 1, "{spans:?}");
}

#[test]
fn the_file_stays_within_its_bytes_with_merged_spans() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 20 << 20,
        ..Limits::default()
    };
    let store = Store::open(directory.path(), limits).unwrap();
    for number in 1..=1_000 {
        append(&store, number).unwrap();
        merge_all(&store);
        let size = store.size();
        assert!(
            size.file_bytes <= limits.max_bytes,
            "{size:?} after {number}"
        );
    }
    check_spans(&store);
    assert_eq!(check_whole(&store), Some(1_000));
    let size = store.size();
    assert!(size.merged_spans > 3, "{size:?}");
    drop(store);
    let store = Store::open(directory.path(), limits).unwrap();
    let SizeNow { used, merged } = SizeNow::of(&store);
    assert_eq!((used, merged), (size.used_bytes, size.merged_bytes));
}

struct SizeNow {
    used: u64,
    merged: u64,
}

impl SizeNow {
    fn of(store: &Store) -> Self {
        let size = store.size();
        Self {
            used: size.used_bytes,
            merged: size.merged_bytes,
        }
    }
}

#[test]
fn what_cannot_be_merged_is_left_to_its_windows_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 0..18 {
        let damaged = number == 8;
        append_at(&store, number * 10, if damaged { DAMAGED } else { &[1] });
    }
    // A minute of one window alone.
    append_at(&store, 240, &[1]);
    for number in 60..63 {
        append_at(&store, number * 10, &[1]);
    }
    merge_all(&store);
    let merges = store.merges();
    let told = [
        MergeOutcome::Merged,
        MergeOutcome::Damaged,
        MergeOutcome::Single,
    ];
    // The damaged window's minute, and its ten minutes.
    assert_eq!(told.map(|outcome| merges.of(outcome)), [2, 2, 1]);
    assert_eq!(store.damages(), 1, "a window counts once");
    assert_eq!(levels(&check_spans(&store)), [2, 0, 0]);
    assert_eq!(merge_all(&store), 0, "nothing is tried again and again");
}

/// Version 3 knew no kinds: its windows are of CPU time, and are merged anew.
#[test]
fn a_store_of_the_third_format_is_merged_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 1..=70 {
        append(&store, number).unwrap();
    }
    let merged = merge_all(&store);
    drop(store);
    let kinds: TableDefinition<'_, u64, u8> = TableDefinition::new("kinds");
    made_into(directory.path(), 3, &[kinds]);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(store.set_aside(), []);
    assert_eq!(check_whole(&store), Some(70));
    assert_eq!(store.kinds(), [ProfileKind::OnCpu]);
    assert_eq!(spans(&store), []);
    assert_eq!(merge_all(&store), merged);
    assert_eq!(store.damages(), 0);
    append(&store, 71).unwrap();
    assert_eq!(check_whole(&store), Some(71));
}

/// Version 2 had no merged spans: its windows are kept and merged.
#[test]
fn a_store_of_the_second_format_is_merged_over_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 1..=70 {
        append(&store, number).unwrap();
    }
    merge_all(&store);
    drop(store);
    let merged: TableDefinition<'_, (u8, u64), (u64, u64, &[u8])> = TableDefinition::new("merged");
    let chunks: TableDefinition<'_, (u8, u64, u32), &[u8]> = TableDefinition::new("merged_chunks");
    let database = redb::Database::open(directory.path().join(Store::FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(merged).unwrap());
    transaction.commit().unwrap();
    drop(database);
    made_into(directory.path(), 2, &[chunks]);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(store.set_aside(), []);
    assert_eq!(check_whole(&store), Some(70));
    assert_eq!(spans(&store), []);
    // Eleven minutes, ten minutes; the last windows are not over.
    assert_eq!(merge_all(&store), 11 + 1);
    assert_eq!(levels(&check_spans(&store)), [11, 1, 0]);
    append(&store, 71).unwrap();
    assert_eq!(check_whole(&store), Some(71));
}

/// Changes a byte of what `merged_chunks` has of a span.
fn damage_span(directory: &Path, key: (u8, u64)) {
    let chunks: TableDefinition<'_, (u8, u64, u32), &[u8]> = TableDefinition::new("merged_chunks");
    let database = redb::Database::open(directory.join(Store::FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(chunks).unwrap();
    let place = (key.0, key.1, 0);
    let mut bytes = table.get(place).unwrap().unwrap().value().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    table.insert(place, bytes.as_slice()).unwrap();
    drop(table);
    transaction.commit().unwrap();
}

#[test]
fn a_damaged_span_is_counted_once_and_merged_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 0..100 {
        append_at(&store, number * 10, &[1]);
    }
    merge_all(&store);
    drop(store);
    damage_span(directory.path(), (0, 120 * SECOND));
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    let named = spans(&store);
    let damaged = named
        .iter()
        .find(|span| (span.level, span.start.0) == (0, 120 * SECOND))
        .unwrap();
    assert_eq!(store.damages(), 0);
    for _ in 0..2 {
        assert!(store.read_merged(damaged).is_err());
        assert_eq!(store.damages(), 1, "it counts once");
    }
    assert_eq!(merge_all(&store), 1);
    assert_eq!(levels(&check_spans(&store)), levels(&named));
    assert_eq!(store.damages(), 1);
    assert_eq!(store.set_aside(), []);
}
