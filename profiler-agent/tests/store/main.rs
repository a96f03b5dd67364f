//! The local store over real files: limits, crashes, damage.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod damage;
mod merged;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use profiler_agent::bounded_file::FileError;
use profiler_agent::profile::{
    ArchivedWindow, LinkFilter, NamedCount, ProcessTotal, SampleKind, SamplePeriod, UnixTime,
    WindowArchive, WindowId, WindowLinks, WindowSummary,
};
use profiler_agent::store::{Limits, Store, StoreError};
use redb::TableDefinition;

const SECOND: u64 = 1_000_000_000;
/// Names the directory in which the child process of the crash test appends.
const CHILD: &str = "PROFILER_STORE_TEST_CHILD";

fn summary(samples: u64) -> WindowSummary {
    WindowSummary {
        kind: SampleKind::on_cpu(SamplePeriod::from_hertz(99)),
        samples,
        processes: (0..50)
            .map(|index| ProcessTotal {
                pid: 1000 + index,
                service: format!("service-{index}").into(),
                comm: format!("worker-{index}").into(),
                samples: samples / 50,
            })
            .collect(),
        rest_processes: 0,
        rest_samples: 0,
        outcomes: vec![NamedCount {
            name: "root".into(),
            count: samples,
        }],
        losses: Vec::new(),
    }
}

/// Bytes that differ from window to window and can be told whole.
fn content(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn length_of(number: u64) -> usize {
    (number.wrapping_mul(7919) % 200_000) as usize
}

fn trace_id(number: u64) -> [u8; 16] {
    (u128::from(number) << 64 | 0xabcd).to_be_bytes()
}

fn links(numbers: std::ops::Range<u64>) -> WindowLinks {
    WindowLinks {
        traces: numbers.clone().map(trace_id).collect(),
        spans: numbers.map(|number| (number + 1).to_be_bytes()).collect(),
        left_out: 0,
    }
}

/// A trace of the window alone, one that goes on in the next window, and a few that fill pieces.
fn links_of(number: u64) -> WindowLinks {
    let mut links = links(number..number + 2);
    if number.is_multiple_of(100) {
        links
            .traces
            .extend((0..9_000).map(|n| trace_id(number << 32 | n)));
    }
    links
}

fn trace(number: u64) -> LinkFilter {
    LinkFilter {
        trace_id: Some(trace_id(number)),
        span_id: None,
    }
}

fn linked(store: &Store, wanted: &LinkFilter) -> Vec<WindowId> {
    let mut found = Vec::new();
    store
        .linked(wanted, UnixTime(0), UnixTime(u64::MAX), &mut |id| {
            found.push(id);
        })
        .unwrap();
    found
}

fn append(store: &Store, number: u64) -> Result<u64, StoreError> {
    let bytes = content(number, length_of(number));
    let start = UnixTime(number * 10 * SECOND);
    let end = UnixTime((number + 1) * 10 * SECOND);
    let links = links_of(number);
    Ok(store
        .append(start, end, &summary(number), &links, &bytes)?
        .0)
}

fn all(store: &Store) -> Vec<ArchivedWindow> {
    let mut windows = Vec::new();
    store
        .visit(UnixTime(0), UnixTime(u64::MAX), &mut |window| {
            windows.push(window);
        })
        .unwrap();
    windows
}

/// Every window is whole, in order, and ends with the newest.
fn check_whole(store: &Store) -> Option<u64> {
    let windows = all(store);
    for window in &windows {
        let number = window.start.0 / (10 * SECOND);
        assert_eq!(window.summary, summary(number));
        let bytes = store.read(window.id).unwrap().unwrap();
        assert!(
            bytes == content(number, length_of(number)),
            "window {number} is not whole"
        );
    }
    let numbers: Vec<u64> = windows.iter().map(|w| w.start.0 / (10 * SECOND)).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    numbers.last().copied()
}

#[test]
fn windows_are_found_by_time_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 1..=20 {
        append(&store, number).unwrap();
    }
    let mut found = Vec::new();
    // From the middle of window 5 to the very start of window 8.
    store
        .visit(
            UnixTime(55 * SECOND),
            UnixTime(80 * SECOND),
            &mut |window| {
                found.push(window.start.0 / (10 * SECOND));
            },
        )
        .unwrap();
    assert_eq!(found, [5, 6, 7]);
    assert_eq!(
        store.extent().unwrap(),
        Some((UnixTime(10 * SECOND), UnixTime(210 * SECOND)))
    );
    drop(store);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(check_whole(&store), Some(20));
    assert_eq!(store.size().windows, 20);
}

#[test]
fn windows_are_found_by_trace_and_span() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_age: Duration::from_secs(100),
        ..Limits::default()
    };
    let store = Store::open(directory.path(), limits).unwrap();
    let ids: Vec<u64> = (1..=105)
        .map(|number| append(&store, number).unwrap())
        .collect();
    let window = |number: usize| WindowId(ids[number - 1]);
    assert_eq!(linked(&store, &trace(103)), [window(102), window(103)]);
    assert_eq!(linked(&store, &trace(100 << 32 | 8_999)), [window(100)]);
    let span = LinkFilter {
        trace_id: None,
        span_id: Some(104u64.to_be_bytes()),
    };
    assert_eq!(linked(&store, &span), [window(102), window(103)]);
    let both = LinkFilter {
        trace_id: Some(trace_id(105)),
        ..span
    };
    assert_eq!(linked(&store, &both), []);
    assert_eq!(linked(&store, &trace(7_000)), []);
    // What the range leaves out is not visited; what was removed with its window is gone.
    let mut found = Vec::new();
    let (from, until) = (UnixTime(1030 * SECOND), UnixTime(u64::MAX));
    store
        .linked(&trace(103), from, until, &mut |id| {
            found.push(id);
        })
        .unwrap();
    assert_eq!(found, [window(103)]);
    assert_eq!(linked(&store, &trace(50)), []);
    drop(store);
    let store = Store::open(directory.path(), limits).unwrap();
    assert_eq!(linked(&store, &trace(103)), [window(102), window(103)]);
}

/// A window with more requests than are listed is found by each of them, and its links stay bounded.
#[test]
fn a_window_with_a_hundred_thousand_traces_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    append(&store, 1).unwrap();
    let before = store.size().used_bytes;
    let mut profile = demo_links(100_000);
    let links = WindowLinks::of(&profile);
    assert_eq!(links.traces.len(), WindowLinks::MAX);
    assert_eq!(links.left_out, 2 * (100_000 - WindowLinks::MAX as u64));
    profile.samples.clear();
    let summary = WindowSummary::of(&profile);
    let times = (UnixTime(20 * SECOND), UnixTime(30 * SECOND));
    let id = store
        .append(times.0, times.1, &summary, &links, &[])
        .unwrap();
    assert!(store.size().used_bytes - before < 200 << 10);
    for number in [5, 50_000, 99_999] {
        assert_eq!(linked(&store, &trace(number)), [id]);
    }
}

/// A profile with so many requests.
fn demo_links(requests: u64) -> profiler_agent::profile::Profile {
    use profiler_agent::profile::{Link, Occurrences, ProfileBuilder, SampleKey, Thread};
    let mut builder = ProfileBuilder::default();
    let stack = builder.stack(&[]);
    let thread = builder.thread(Thread {
        process: 0,
        tid: 1,
        name: "".into(),
    });
    for number in 0..requests {
        let key = SampleKey {
            link: Some(Link {
                trace_id: trace_id(number),
                span_id: (number + 1).to_be_bytes(),
            }),
            ..SampleKey::new(thread, stack)
        };
        builder.sample(key, (1, 1), &Occurrences::default());
    }
    let kind = SampleKind::on_cpu(SamplePeriod::from_hertz(99));
    builder.finish(UnixTime(0), UnixTime(1), kind)
}

/// Makes a store of a former format: one without the tables that came after it.
fn made_into<K: redb::Key + 'static, V: redb::Value + 'static>(
    directory: &Path,
    version: u64,
    without: &[TableDefinition<'_, K, V>],
) {
    let format: TableDefinition<'_, &str, u64> = TableDefinition::new("format");
    let database = redb::Database::open(directory.join(Store::FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    for table in without {
        assert!(transaction.delete_table(*table).unwrap());
    }
    let mut table = transaction.open_table(format).unwrap();
    assert_eq!(
        table.insert("version", version).unwrap().unwrap().value(),
        5
    );
    drop(table);
    transaction.commit().unwrap();
}

/// The first format had no links: its windows are kept, and what is appended now is found.
#[test]
fn a_store_of_the_first_format_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    for number in 1..=3 {
        append(&store, number).unwrap();
    }
    drop(store);
    let links: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("links");
    made_into(directory.path(), 1, &[links]);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(store.set_aside(), []);
    assert_eq!(check_whole(&store), Some(3));
    assert_eq!(linked(&store, &trace(3)), []);
    let id = append(&store, 4).unwrap();
    assert_eq!(linked(&store, &trace(4)), [WindowId(id)]);
    drop(store);
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    assert_eq!(check_whole(&store), Some(4));
}

#[test]
fn the_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("deep/store");
    let _store = Store::open(&inner, Limits::default()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join(Store::FILE)), 0o600);
}

#[test]
fn the_file_stays_within_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: 40 << 20,
        ..Limits::default()
    };
    let store = Store::open(directory.path(), limits).unwrap();
    let mut kept = 0;
    for number in 1..=1500 {
        append(&store, number).unwrap();
        let size = store.size();
        assert!(
            size.file_bytes <= limits.max_bytes,
            "{size:?} after {number}"
        );
        kept = size.used_bytes;
    }
    // Bounded is not empty: at least what the module's header promises.
    assert!(kept > limits.max_bytes * 3 / 8 - (1 << 20), "{kept}");
    assert_eq!(check_whole(&store), Some(1500));
    drop(store);
    let store = Store::open(directory.path(), limits).unwrap();
    assert_eq!(check_whole(&store), Some(1500));
}

#[test]
fn old_windows_go() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_age: Duration::from_secs(100),
        ..Limits::default()
    };
    let store = Store::open(directory.path(), limits).unwrap();
    for number in 1..=50 {
        append(&store, number).unwrap();
    }
    let numbers: Vec<u64> = all(&store)
        .iter()
        .map(|w| w.start.0 / (10 * SECOND))
        .collect();
    assert_eq!(numbers, (41..=50).collect::<Vec<_>>());
}

#[test]
fn a_window_too_large_is_refused_and_the_store_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        max_bytes: Limits::MIN_BYTES,
        ..Limits::default()
    };
    let store = Store::open(directory.path(), limits).unwrap();
    let large = vec![7; 4 << 20];
    let links = WindowLinks::default();
    let refused = store.append(UnixTime(1), UnixTime(2), &summary(1), &links, &large);
    assert!(
        matches!(refused, Err(StoreError::WindowTooLarge { .. })),
        "{refused:?}"
    );
    append(&store, 1).unwrap();
    assert_eq!(check_whole(&store), Some(1));
}

#[test]
fn a_second_agent_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let _store = Store::open(directory.path(), Limits::default()).unwrap();
    let second = Store::open(directory.path(), Limits::default());
    assert!(
        matches!(second, Err(StoreError::File(FileError::InUse { .. }))),
        "{second:?}"
    );
}

/// Not a test of its own: what [`every_append_survives_a_kill`] runs and kills.
#[test]
fn child_appends_until_killed() {
    let Some(directory) = std::env::var_os(CHILD) else {
        return;
    };
    let limits = Limits {
        max_bytes: 16 << 20,
        ..Limits::default()
    };
    let store = Store::open(Path::new(&directory), limits).unwrap();
    assert_eq!(store.set_aside(), []);
    merged::check_spans(&store);
    let mut number = check_whole(&store).map_or(1, |last| last + 1);
    loop {
        append(&store, number).unwrap();
        println!("appended {number}");
        merged::merge_all(&store);
        number += 1;
    }
}

#[test]
fn every_append_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut newest = 0;
    for run in 0..50u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = 0;
        // Killed at another moment each run: after some appends, then somewhere within the next.
        let appends = 1 + run % 4;
        while said < appends {
            let line = lines.next().expect("the child stopped by itself").unwrap();
            if let Some(number) = line.strip_prefix("appended ") {
                newest = newest.max(number.parse().unwrap());
                said += 1;
            }
        }
        for _ in 0..run * 997 % 60_000 {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("appended ") {
                newest = newest.max(number.parse().unwrap());
            }
        }
        let store = Store::open(directory.path(), Limits::default()).unwrap();
        assert_eq!(store.set_aside(), []);
        let last = check_whole(&store).unwrap();
        merged::check_spans(&store);
        // What the child was told is stored is there; one more may be.
        assert!(
            last == newest || last == newest + 1,
            "{last} after {newest}"
        );
        newest = last;
    }
}

/// Measures an append, a look at a week's summaries, and the memory that both take.
#[test]
#[ignore = "a measurement for an optimized build: `cargo xtask bench` runs it"]
fn appends_and_looks_are_cheap() {
    let resident = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let directory = tempfile::tempdir().unwrap();
    let before = resident();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    let count = 8_640;
    let bytes = content(1, 40_000);
    let summary = summary(2_000);
    // As many requests as two busy CPUs can have in 10 s.
    let links = links(0..1_980);
    let began = std::time::Instant::now();
    for number in 0..count {
        let times = (
            UnixTime(number * 10 * SECOND),
            UnixTime((number + 1) * 10 * SECOND),
        );
        store
            .append(times.0, times.1, &summary, &links, &bytes)
            .unwrap();
    }
    let took = began.elapsed();
    println!(
        "an append of 40 kB: {:.2} ms",
        took.as_secs_f64() * 1e3 / count as f64
    );
    println!(
        "resident: {} KiB more; {:?}",
        resident() - before,
        store.size()
    );
    let began = std::time::Instant::now();
    let windows = all(&store).len();
    println!(
        "{windows} summaries: {:.1} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    let began = std::time::Instant::now();
    let found = linked(&store, &trace(7)).len();
    println!(
        "a trace in {found} windows of {windows}: {:.1} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    drop(store);
    let began = std::time::Instant::now();
    let store = Store::open(directory.path(), Limits::default()).unwrap();
    println!(
        "opened again: {:.1} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    assert_eq!(store.size().windows, windows as u64);
}
