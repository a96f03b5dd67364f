//! What windows cost to write and to read, beside pprof, by turns; and queries over a day of them, before and after they are
//! merged: CPU time, and what merging takes of it and of the store.
//!
//! `cargo bench -p profiler-agent --bench day [-- WINDOWS]`
#![expect(
    clippy::unwrap_used,
    reason = "a measurement stops at what it does not expect"
)]

#[path = "../tests/page/served.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod served;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use profiler_agent::export::{ReadLimits, pprof};
use profiler_agent::page::{Limits, LiveSource};
use profiler_agent::profile::{
    ArchiveError, BootTime, FrameType, Function, Label, LabelSet, LineEntry, Link, Location,
    LocationIndex, LocationKind, Mapping, Occurrences, Process, ProcessKey, Profile,
    ProfileBuilder, SampleKey, SampleKind, SamplePeriod, Thread, UnixTime, WindowLinks,
    WindowSummary,
};
use profiler_agent::store::{Limits as StoreLimits, Store, encoding};
use served::Served;

/// 2026-01-01T00:00:00Z in ms.
const EPOCH: u64 = 1_767_225_600_000;
/// Length of a window in ms.
const WINDOW: u64 = 10_000;
/// Windows that differ: they are repeated, because they take long to make.
const DISTINCT: u64 = 1_440;
const SERVICES: u32 = 3;
/// Distinct call paths of a service in a day, functions by name.
const PATHS: usize = 2_500;
const FUNCTIONS: u64 = 1_500;
/// Samples of a service in a window.
const SAMPLES: u64 = 700;
const THREADS: u64 = 8;
const NANOSECONDS: u64 = 1_000_000;
/// CPU time that a sample stands for.
const PERIOD: SamplePeriod = SamplePeriod::from_hertz(99);

/// A generator of numbers (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (self.0 >> 33) % limit
    }
}

/// A service: its call paths, outermost first, each frame a function and the number of a call in it.
struct Service {
    paths: Vec<Vec<(u64, u64)>>,
}

impl Service {
    fn new(number: u32) -> Self {
        let mut random = Random(u64::from(number) + 1);
        let mut paths: Vec<Vec<(u64, u64)>> = vec![vec![(0, 0), (1, 0), (2, 0)]];
        while paths.len() < PATHS {
            let before = random.below(paths.len() as u64) as usize;
            let keep = 3 + random.below(paths[before].len() as u64 - 2) as usize;
            let mut path = paths[before][..keep.min(paths[before].len())].to_vec();
            for _ in 0..2 + random.below(12) {
                path.push((random.below(FUNCTIONS), random.below(3)));
            }
            path.truncate(60);
            paths.push(path);
        }
        Self { paths }
    }
}

/// Locations that are made already, by service, function and place in it.
type Known = HashMap<(u32, u64, u64), LocationIndex>;

fn location(
    builder: &mut ProfileBuilder,
    known: &mut Known,
    (service, function, at): (u32, u64, u64),
) -> LocationIndex {
    if let Some(index) = known.get(&(service, function, at)) {
        return *index;
    }
    let mapping = builder.mapping(Mapping {
        file: format!("/usr/bin/service-{service}").into(),
        memory_start: 0x1000,
        memory_limit: 0x1000_0000,
        file_offset: 0,
        build_id: None,
        htl_hash: None,
    });
    let name: Arc<str> = format!(
        "service{service}::module{}::Component{}::operation_{function}",
        function % 37,
        function % 411
    )
    .into();
    let line = |builder: &mut ProfileBuilder, name: Arc<str>, line| LineEntry {
        function: builder.function(Function {
            system_name: Arc::clone(&name),
            name,
            file: format!("src/module{}.rs", function % 37).into(),
            start_line: function as u32,
        }),
        line,
        column: 0,
    };
    let mut lines = Vec::new();
    if function.is_multiple_of(4) {
        let inlined = format!("core::iter::Iterator::step_{}", function % 50);
        lines.push(line(builder, inlined.into(), 7));
    }
    lines.push(line(builder, name, (function * 10 + at) as u32));
    let index = builder.location(Location {
        mapping: Some(mapping),
        address: 0x1000 + function * 256 + at * 16,
        lines: lines.into(),
        frame_type: FrameType::Rust,
        kind: LocationKind::Named,
    });
    known.insert((service, function, at), index);
    index
}

/// A window: popular paths often, the others now and then; each sample somewhere in its leaf's function. The first
/// service labels its samples, each sample of the second belongs to a request of its own, the threads of the third have
/// names of their own.
fn window(number: u64, services: &[Service]) -> Profile {
    let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut builder = ProfileBuilder::default();
    let mut locations = Known::new();
    let start = UnixTime((EPOCH + number * WINDOW) * NANOSECONDS);
    for (service, known) in (0..).zip(services) {
        let process = builder.process(Arc::new(Process {
            key: ProcessKey {
                pid: 1_000 + service,
                started: BootTime(0),
            },
            parent: 1,
            comm: format!("service-{service}").into(),
            executable: format!("/usr/bin/service-{service}").into(),
            cgroup: "/".into(),
            container: None,
            kernel: false,
            resource: Arc::default(),
        }));
        for _ in 0..SAMPLES {
            // About as Zipf has it.
            let bound = 1 + random.below(PATHS as u64);
            let bound = 1 + random.below(bound);
            let path = &known.paths[random.below(bound) as usize];
            let worker = random.below(THREADS);
            let thread = builder.thread(Thread {
                process,
                tid: 10_000 + service * 100 + worker as u32,
                name: match service {
                    2 => format!("worker-{worker}").into(),
                    _ => "runtime-worker".into(),
                },
            });
            let mut stack: Vec<LocationIndex> = path
                .iter()
                .map(|(function, call)| {
                    location(&mut builder, &mut locations, (service, *function, *call))
                })
                .collect();
            let (leaf, _) = path[path.len() - 1];
            let last = stack.len() - 1;
            let place = (service, leaf, 3 + random.below(6));
            stack[last] = location(&mut builder, &mut locations, place);
            stack.reverse();
            let stack = builder.stack(&stack);
            let labels = match service {
                0 => builder.labels(LabelSet {
                    labels: Box::new([Label {
                        key: "endpoint".into(),
                        value: format!("/api/{}", path[path.len() / 3].0 % 12).into(),
                    }]),
                    goroutine: None,
                }),
                _ => SampleKey::new(thread, stack).labels,
            };
            let time = UnixTime(start.0 + random.below(WINDOW) * NANOSECONDS);
            let link = (service == 1).then(|| Link {
                trace_id: (u128::from(number) << 64 | u128::from(random.0)).to_be_bytes(),
                span_id: random.0.to_be_bytes(),
            });
            let key = SampleKey {
                labels,
                link,
                ..SampleKey::new(thread, stack)
            };
            builder.taken(key, &Occurrences::equal(PERIOD.nanoseconds(), vec![time]));
        }
    }
    let end = UnixTime(start.0 + WINDOW * NANOSECONDS);
    builder.finish(start, end, SampleKind::on_cpu(PERIOD))
}

/// CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn decode(bytes: &[u8]) -> Result<Profile, ArchiveError> {
    encoding::decode(bytes).ok_or_else(|| "damaged".into())
}

/// Windows that are written and read in each form, by turns.
const TURNS: u64 = 200;

/// Writes and reads `window`; bytes, CPU time to write, CPU time to read.
fn turn(
    window: &Profile,
    encode: &dyn Fn(&Profile) -> Vec<u8>,
    decode: &dyn Fn(&[u8]) -> Profile,
) -> (usize, Duration, Duration) {
    let began = cpu();
    let bytes = encode(window);
    let written = cpu();
    let read = decode(&bytes);
    let took = cpu() - written;
    assert_eq!(read.value(), window.value());
    (bytes.len(), written - began, took)
}

/// Prints what a window takes in the store's form and as pprof.
fn forms(services: &[Service]) {
    let stored = |profile: &Profile| encoding::encode(profile).unwrap();
    let read = |bytes: &[u8]| decode(bytes).unwrap();
    let as_pprof = |profile: &Profile| pprof::encode(profile).unwrap();
    let read_pprof = |bytes: &[u8]| pprof::decode(bytes, &ReadLimits::default()).unwrap();
    let mut sums = [(0, Duration::ZERO, Duration::ZERO); 2];
    for number in 0..TURNS {
        let window = window(number, services);
        for (sum, of) in sums.iter_mut().zip([
            turn(&window, &stored, &read),
            turn(&window, &as_pprof, &read_pprof),
        ]) {
            (sum.0, sum.1, sum.2) = (sum.0 + of.0, sum.1 + of.1, sum.2 + of.2);
        }
    }
    for (form, (bytes, written, read)) in ["stored", "pprof"].into_iter().zip(sums) {
        println!(
            "{form:6}: {} bytes a window, {:.3} ms of CPU to write, {:.3} ms to read",
            bytes as u64 / TURNS,
            written.as_secs_f64() * 1e3 / TURNS as f64,
            read.as_secs_f64() * 1e3 / TURNS as f64
        );
    }
}

/// CPU time of a query, or of all that make up the range where it is asked for in parts.
fn query(store: &Arc<Store>, windows: u64, parts: u64, path: &str) -> Duration {
    let source = LiveSource::new(Arc::clone(store) as _, Arc::new(decode));
    let served = Served::new(Arc::new(source), Limits::AGENT);
    let part = windows.div_ceil(parts) * WINDOW;
    let (began, cpu_before) = (Instant::now(), cpu());
    let mut samples = 0;
    // A range that is one begins within a minute of ten minutes of an hour, as one does that ends now.
    let into = if parts == 1 { 1_535_000 } else { 0 };
    for from in (EPOCH..EPOCH + windows * WINDOW).step_by(part as usize) {
        let range = format!("from={}&until={}", from + into, from + part - 3);
        let answer = served.json(&format!("/api/{path}{range}"));
        samples += answer["samples"].as_u64().unwrap();
    }
    let took = cpu() - cpu_before;
    println!(
        "{path:40} {samples:9} samples {:9.3} s of CPU, {:9.3} s",
        took.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    took
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let windows: u64 = arguments.next().map_or(8_640, |text| text.parse().unwrap());
    let services: Vec<Service> = (0..SERVICES).map(Service::new).collect();
    forms(&services);
    let directory = tempfile::tempdir().unwrap();
    let limits = StoreLimits {
        max_bytes: 16 << 30,
        ..StoreLimits::default()
    };
    let store = Arc::new(Store::open(directory.path(), limits).unwrap());
    let (mut bytes, mut stacks) = (0, 0);
    let mut made = Vec::new();
    for number in 0..windows {
        if number < DISTINCT {
            let profile = window(number, &services);
            let encoded = encoding::encode(&profile).unwrap();
            stacks += profile.stacks.len();
            let (summary, links) = (WindowSummary::of(&profile), WindowLinks::of(&profile));
            made.push((summary, links, encoded));
        }
        let (summary, links, encoded) = &made[(number % DISTINCT) as usize];
        bytes += encoded.len();
        let time = |number: u64| UnixTime((EPOCH + number * WINDOW) * NANOSECONDS);
        let (start, end) = (time(number), time(number + 1));
        store.append(start, end, summary, links, encoded).unwrap();
    }
    let plain = store.size();
    println!(
        "{windows} windows of {} distinct stacks and {} bytes; {plain:?}",
        stacks / made.len(),
        bytes as u64 / windows
    );
    let queries = [
        "flamegraph?",
        "functions?",
        "labels?",
        "services?",
        "services?label=endpoint:/api/3&",
        "flamegraph?service=service-1&",
    ];
    let parts = windows.div_ceil(360);
    println!("windows one by one, in queries of an hour:");
    let before = query(&store, windows, parts, queries[0]);
    query(&store, windows, 1, queries[3]);

    let stop = AtomicBool::new(false);
    let (began, cpu_before) = (Instant::now(), cpu());
    while store
        .merge_next(&decode, (StoreLimits::MERGE_BYTES, &stop))
        .unwrap()
        .is_some()
    {}
    let took = cpu() - cpu_before;
    let merged = store.size();
    println!(
        "merged: {:.3} s of CPU, {:.2} ms a window, {:.3} s; {:?}",
        took.as_secs_f64(),
        took.as_secs_f64() * 1e3 / windows as f64,
        began.elapsed().as_secs_f64(),
        store.merges()
    );
    println!(
        "{} spans of {} KiB together: {:.1} % of the store",
        merged.merged_spans,
        merged.merged_bytes >> 10,
        merged.merged_bytes as f64 * 100.0 / merged.used_bytes as f64
    );
    println!("merged, in one query:");
    for path in queries {
        let after = query(&store, windows, 1, path);
        if path == queries[0] {
            println!("ratio {:.0}", before.as_secs_f64() / after.as_secs_f64());
        }
    }
}
