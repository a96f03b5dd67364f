//! Located samples to encoded bytes: what a sample and its context cost in each stage, and its size on the wire.
//!
//! The load: 20 processes with 4 threads each and 3,000 distinct stacks of 10 to 50 frames that share their
//! outer frames, drawn so that few of them are most of the samples, as in real profiles.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use profiler_agent::aggregate::{Aggregator, Config, Limits};
use profiler_agent::correlate::{self, Correlator};
use profiler_agent::export::{otlp, pprof};
use profiler_agent::profile::{
    BootTime, BuildId, ClockPair, Coding, Executable, ExecutableId, FileOffset, FrameType,
    Function, LineEntry, LocatedFrame, LocatedSample, Location, LocationKey, LocationKind, Losses,
    Mapping, Process, ProcessKey, Profile, ProfileBuilder, ProfileKind, RawContext, RawLabel,
    SampleKey, SampleKind, SamplePeriod, Thread, ThreadName, UnixTime, Window, WindowUuid, merge,
};
use profiler_common::layout::SampleFlags;
use profiler_common::unwind::Outcome;

const SAMPLES: usize = 300_000;
const PROCESSES: u32 = 20;
const THREADS: u32 = 4;
const STACKS: u64 = 3_000;
const FUNCTIONS: u64 = 4_000;
const WINDOW_NANOSECONDS: u64 = 10_000_000_000;

/// A random number generator (xorshift64*): the same load in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn executable(id: u32) -> Arc<Executable> {
    Arc::new(Executable {
        id: ExecutableId(id),
        path: format!("/usr/lib/lib{id}.so").into(),
        file: None,
        image: None,
        length: 0,
        build_id: BuildId::new(&[id as u8 + 1; 20]),
        htl_hash: std::sync::OnceLock::new(),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    })
}

fn stacks(random: &mut Random) -> Vec<Vec<LocatedFrame>> {
    let executables: Vec<_> = (0..10).map(executable).collect();
    let mut frame = |_| {
        let function = random.below(FUNCTIONS);
        let executable = &executables[(function % 10) as usize];
        // Some functions are called from several places.
        let offset = FileOffset(function * 0x100 + random.below(4) * 0x10);
        LocatedFrame {
            key: LocationKey::File(executable.id, offset),
            executable: Some(Arc::clone(executable)),
            kernel_code: None,
        }
    };
    let outer: Vec<Vec<_>> = (0..50).map(|_| (0..25).map(&mut frame).collect()).collect();
    (0..STACKS)
        .map(|stack| {
            let shared = &outer[(stack % 50) as usize][(stack % 20) as usize..];
            let own = (0..5 + stack % 21).map(&mut frame);
            own.chain(shared.iter().cloned()).collect()
        })
        .collect()
}

fn samples() -> Vec<LocatedSample> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let stacks = stacks(&mut random);
    let processes: Vec<_> = (1..=PROCESSES)
        .map(|pid| {
            Arc::new(Process {
                key: ProcessKey {
                    pid,
                    started: BootTime(u64::from(pid)),
                },
                parent: 1,
                comm: format!("server{pid}").into(),
                executable: format!("/usr/bin/server{pid}").into(),
                cgroup: "/system.slice".into(),
                container: None,
                kernel: false,
                resource: Arc::default(),
            })
        })
        .collect();
    (0..SAMPLES)
        .map(|number| {
            // The product of two uniform numbers: small ones are frequent.
            let stack = random.below(STACKS) * random.below(STACKS) / STACKS;
            let process = &processes[(stack % u64::from(PROCESSES)) as usize];
            LocatedSample {
                kind: ProfileKind::OnCpu,
                value: 10_101_010,
                runnable: 0,
                time: BootTime(number as u64 * (WINDOW_NANOSECONDS / SAMPLES as u64)),
                process: Arc::clone(process),
                tid: process.key.pid * 10 + random.below(u64::from(THREADS)) as u32,
                cpu: 0,
                thread_name: ThreadName(*b"worker\0\0\0\0\0\0\0\0\0\0"),
                outcome: Outcome::Root,
                flags: SampleFlags::default(),
                frames: stacks[stack as usize].clone(),
                context: None,
            }
        })
        .collect()
}

/// Names for the window's locations, as if symbols had been read.
fn named(window: &Window) -> Profile {
    let mut builder = ProfileBuilder::default();
    let clocks = ClockPair {
        boot: BootTime(0),
        unix: UnixTime(1_700_000_000_000_000_000),
    };
    let locations: Vec<_> = window
        .locations
        .iter()
        .map(|key| {
            let LocationKey::File(id, offset) = key else {
                unreachable!("the load has files only");
            };
            let executable = &window.executables[id];
            let mapping = builder.mapping(Mapping {
                file: (*executable.path).into(),
                memory_start: 0,
                memory_limit: FUNCTIONS * 0x100,
                file_offset: 0,
                build_id: executable.build_id,
                htl_hash: None,
            });
            let function = offset.0 / 0x100;
            let name: Arc<str> = format!("library::module{}::function_{function}", id.0).into();
            let function = builder.function(Function {
                system_name: Arc::clone(&name),
                name,
                file: format!("/build/library/src/module{}.rs", id.0).into(),
                start_line: function as u32,
            });
            let line = LineEntry {
                function,
                line: (offset.0 / 0x10) as u32,
                column: 0,
            };
            builder.location(Location {
                mapping: Some(mapping),
                address: offset.0,
                lines: [line].into(),
                frame_type: FrameType::Rust,
                kind: LocationKind::Named,
            })
        })
        .collect();
    for sample in &window.samples {
        let thread = &window.threads[sample.thread.0 as usize];
        let process = builder.process(Arc::clone(&window.processes[thread.process as usize]));
        let thread = builder.thread(Thread {
            process,
            tid: thread.tid,
            name: thread.name.to_text().into(),
        });
        let stack = window.stacks.get(sample.stack).iter();
        let stack: Vec<_> = stack.map(|index| locations[index.0 as usize]).collect();
        let stack = builder.stack(&stack);
        let taken = sample.occurrences.at(|time| clocks.unix(*time));
        builder.taken(SampleKey::new(thread, stack), &taken);
    }
    let (start, end) = (clocks.unix(window.start), clocks.unix(window.end));
    builder.finish(start, end, window.kind)
}

/// What a request's samples come with: three labels and both ids; a request has four samples.
fn contexts() -> Vec<RawContext> {
    let label = |key: &str, value: &str| RawLabel {
        key: key.as_bytes().into(),
        value: value.as_bytes().into(),
        cut: false,
    };
    (0..SAMPLES)
        .map(|number| {
            let request = number / 4 + 1;
            RawContext {
                labels: vec![
                    label("endpoint", ["/cart", "/search", "/item"][request % 3]),
                    label("span_id", &format!("{request:016x}")),
                    label("span_name", "GET /cart"),
                    label("tenant", &format!("tenant-{}", request % 150)),
                    label("trace_id", &format!("{request:032x}")),
                ],
                ..RawContext::default()
            }
        })
        .collect()
}

fn correlate(name: &str, samples: &[LocatedSample], contexts: &[RawContext]) {
    let copies = contexts.to_vec();
    let copied = measure(
        &format!("{name}: copies alone"),
        samples.len() as u64,
        || copies.clone(),
    );
    drop(copied);
    measure(name, samples.len() as u64, || {
        let mut correlator = Correlator::new(correlate::Config::default());
        let mut links = 0;
        for (sample, raw) in samples.iter().zip(contexts) {
            let context = correlator.context(&sample.process, raw.clone());
            links += u64::from(context.is_some_and(|context| context.link.is_some()));
        }
        links
    });
}

/// The best of five runs, in nanoseconds a sample.
fn measure<T>(what: &str, samples: u64, mut run: impl FnMut() -> T) -> T {
    let mut best = f64::INFINITY;
    let mut last = None;
    for _ in 0..5 {
        let start = Instant::now();
        let result = black_box(run());
        best = best.min(start.elapsed().as_nanos() as f64 / samples as f64);
        last = Some(result);
    }
    let rate = 1e9 / best;
    println!("{what:<34} {best:>9.1} ns/sample {rate:>12.0} samples/s");
    last.expect("it ran")
}

fn bytes(what: &str, bytes: usize, compressed: usize, samples: u64) {
    let (raw, gzip) = (
        bytes as f64 / samples as f64,
        compressed as f64 / samples as f64,
    );
    println!("{what:<34} {raw:>9.1} bytes/sample {gzip:>9.1} compressed");
}

fn aggregate(samples: &[LocatedSample]) -> Window {
    let config = Config {
        kind: SampleKind::on_cpu(SamplePeriod::from_hertz(99)),
        limits: Limits::default(),
    };
    let mut aggregator = Aggregator::new(config, BootTime(0));
    for sample in samples {
        aggregator.add(sample);
    }
    aggregator.close(BootTime(WINDOW_NANOSECONDS), Losses::default())
}

fn encoded(profile: &Profile, name: &str) {
    let samples = profile.sample_count();
    for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
        let name = format!("{name}: OTLP {}", coding.name().unwrap_or("plain"));
        let options = otlp::Options {
            coding,
            ..otlp::Options::default()
        };
        let payloads = measure(&name, samples, || {
            otlp::encode(profile, WindowUuid::new(profile.start, 1), &options)
        });
        let raw = payloads.iter().map(|payload| payload.raw_length as usize);
        let length = payloads.iter().map(|payload| payload.bytes.len()).sum();
        bytes(&name, raw.sum(), length, samples);
    }
    let file = measure(&format!("{name}: encode pprof"), samples, || {
        pprof::encode(profile).expect("memory takes all")
    });
    bytes(&format!("{name}: pprof"), file.len(), file.len(), samples);
}

fn main() {
    let samples = samples();
    let count = samples.len() as u64;
    let frames: usize = samples.iter().map(|sample| sample.frames.len()).sum();
    println!("{:.1} frames a sample", frames as f64 / count as f64);
    let window = measure("aggregate: add and close", count, || aggregate(&samples));
    assert_eq!(window.sample_count(), count);
    let contexts = contexts();
    correlate("correlate: request of 4 samples", &samples, &contexts);
    let same = vec![contexts[0].clone(); SAMPLES];
    correlate("correlate: known", &samples, &same);
    let profile = named(&window);
    measure("merge", count, || merge([&profile]));
    encoded(&profile, "busy");
    // What two busy CPUs make at 99 Hz in 10 s.
    let window = aggregate(&samples[..1_980]);
    encoded(&named(&window), "usual");
}
