//! Arbitrary windows of a small machine: few processes, threads, functions, labels and requests, so that much of it is equal in
//! several of them.

use std::sync::Arc;

use profiler_agent::profile::window::OutcomeCounts;
use profiler_agent::profile::{
    BootTime, FrameType, Function, Label, LabelSet, LineEntry, Link, Location, LocationIndex,
    LocationKind, Losses, Mapping, Occurrences, Process, ProcessKey, Profile, ProfileBuilder,
    SampleKey, SampleKind, SampleLoss, SamplePeriod, Thread, UnixTime,
};
use profiler_common::unwind::Outcome;
use proptest::prelude::*;

/// 2026-01-01T00:00:00Z in ms.
pub(crate) const EPOCH: u64 = 1_767_225_600_000;
const NANOSECONDS: u64 = 1_000_000;

/// A sample of few possible ones: process, its name, thread, frames, label, request, count.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) process: u8,
    pub(crate) comm: u8,
    pub(crate) thread: u8,
    pub(crate) frames: Vec<u8>,
    pub(crate) label: u8,
    pub(crate) request: Option<u8>,
    pub(crate) count: u8,
}

/// A window: time since the end of the one before and its own length in s, is it at another rate, its samples, and those of
/// time off CPU.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) gap: u64,
    pub(crate) length: u64,
    pub(crate) is_slow: bool,
    pub(crate) samples: Vec<Sample>,
    pub(crate) waits: Vec<Sample>,
}

pub(crate) fn samples() -> impl Strategy<Value = Vec<Sample>> {
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

pub(crate) fn windows() -> impl Strategy<Value = Vec<Window>> {
    let gap = prop_oneof![8 => Just(0u64), 1 => 0u64..40, 1 => 500u64..2_000];
    let waits = prop_oneof![2 => Just(Vec::new()), 1 => samples()];
    let window = (gap, 5u64..40, prop::bool::weighted(0.03), samples(), waits);
    let window = window.prop_map(|(gap, length, is_slow, samples, waits)| Window {
        gap,
        length,
        is_slow,
        samples,
        waits,
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
    // Of some functions no line is known.
    let known = if number.is_multiple_of(11) { 0 } else { number };
    let mut lines = vec![line(name, u32::from(known))];
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
        kind: match broken {
            true => LocationKind::StackEnd(Outcome::Truncated),
            false => LocationKind::Named,
        },
    })
}

/// The profiles of a window that starts so many seconds behind the epoch: of time on CPUs, and off them where it has such.
pub(crate) fn profiles(window: &Window, start: u64) -> Vec<Profile> {
    let period = SamplePeriod::from_hertz(if window.is_slow { 19 } else { 99 });
    let on_cpu = SampleKind::on_cpu(period);
    let bounds = [start, start + window.length];
    let mut profiles = vec![profile(&window.samples, bounds, on_cpu)];
    if !window.waits.is_empty() {
        profiles.push(profile(&window.waits, bounds, SampleKind::OFF_CPU));
    }
    profiles
}

fn profile(samples: &[Sample], bounds: [u64; 2], kind: SampleKind) -> Profile {
    let mut builder = ProfileBuilder::default();
    let [start, end] = bounds.map(|seconds| UnixTime((EPOCH + seconds * 1_000) * NANOSECONDS));
    for sample in samples {
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
        // What is not sampled by a period differs from sample to sample.
        let each = match kind.period {
            Some(period) => period.nanoseconds(),
            None => 1_000_003 * (1 + sample.frames.len() as u64),
        };
        let taken = Occurrences::equal(each, times);
        let key = SampleKey {
            labels,
            link,
            ..SampleKey::new(thread, stack)
        };
        builder.taken(key, &taken);
    }
    // How stacks ended, and what was lost: as much as there are samples, so that it differs from window to window.
    let count = samples.len() as u64;
    let mut outcomes = OutcomeCounts::default();
    outcomes.add_many(Outcome::Root, 3 * count);
    outcomes.add(Outcome::NoRule);
    if count > 0 {
        builder.outcomes(0, &outcomes);
    }
    let mut losses = Losses::default();
    losses.add(SampleLoss::RingFull, count);
    builder.losses(&losses);
    builder.finish(start, end, kind)
}
