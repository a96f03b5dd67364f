//! Profiles for tests: one of known content, and arbitrary ones.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use profiler_common::unwind::Outcome;
use proptest::prelude::*;

use super::window::OutcomeCounts;
use super::{
    BootTime, BuildId, ContainerId, FrameType, Function, FunctionIndex, HtlHash, Label, LabelSet,
    LabelSetIndex, LineEntry, Link, Location, LocationIndex, LocationKind, Losses, Mapping,
    Occurrences, Process, ProcessKey, Profile, ProfileBuilder, SampleKey, SampleKind, SampleLoss,
    SamplePeriod, StackIndex, Thread, UnixTime,
};

/// Names as a hostile process may choose them.
pub(crate) const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "semi;colon",
    "line\nbreak",
    "\u{0}nul\u{7f}\u{1b}[31m",
    "\u{202e}right to left",
    "quote\"'&amp;",
    "",
    "space  s ",
];

pub(crate) fn process(pid: u32, executable: &str, container: Option<&str>) -> Process {
    Process {
        key: ProcessKey {
            pid,
            started: BootTime(0),
        },
        parent: 0,
        comm: executable.rsplit('/').next().unwrap_or("").into(),
        executable: executable.into(),
        cgroup: "".into(),
        container: container.map(|id| ContainerId(id.into())),
        kernel: executable.is_empty(),
        resource: Arc::default(),
    }
}

fn function(builder: &mut ProfileBuilder, name: &str, file: &str) -> FunctionIndex {
    builder.function(Function {
        name: name.into(),
        system_name: format!("_Z{name}").into(),
        file: file.into(),
        start_line: 10,
    })
}

/// Two processes, one of them in a container, and a kernel thread; inlined functions, a location
/// without line numbers, a broken stack, a link; 8 samples at 1,000 + their number nanoseconds.
pub(crate) fn example() -> Profile {
    let mut builder = ProfileBuilder::default();
    let program = builder.mapping(Mapping {
        file: "/bin/program".into(),
        memory_start: 0x1000,
        memory_limit: 0x9000,
        file_offset: 0x400,
        build_id: BuildId::new(&[0xab; 20]),
        htl_hash: Some(HtlHash([0xcd; 16])),
    });
    let kernel = builder.mapping(Mapping {
        file: "[kernel]".into(),
        memory_start: 0xffff_ffff_8000_0000,
        memory_limit: u64::MAX,
        file_offset: 0,
        build_id: BuildId::new(&[0x11; 20]),
        htl_hash: None,
    });
    let names = [
        ("inner", "src/main.c"),
        ("outer", "src/main.c"),
        ("main", "src/main.c"),
        ("do_syscall_64", ""),
        ("program+0x8000", ""),
        ("[truncated]", ""),
    ];
    let functions = names.map(|(name, file)| function(&mut builder, name, file));
    let line = |index: usize, line| LineEntry {
        function: functions[index],
        line,
        column: 0,
    };
    let mut location = |mapping, address, lines: &[LineEntry], frame_type, kind| {
        builder.location(Location {
            mapping,
            address,
            lines: lines.into(),
            frame_type,
            kind,
        })
    };
    let leaf = location(
        Some(program),
        0x1100,
        &[line(0, 12), line(1, 34)],
        FrameType::Rust,
        LocationKind::Named,
    );
    let main = location(
        Some(program),
        0x1200,
        &[line(2, 56)],
        FrameType::Native,
        LocationKind::Named,
    );
    let call = location(
        Some(kernel),
        0xffff_ffff_8123_4567,
        &[line(3, 0)],
        FrameType::Kernel,
        LocationKind::Named,
    );
    let unnamed = location(
        Some(program),
        0x8000,
        &[line(4, 0)],
        FrameType::Native,
        LocationKind::Unnamed,
    );
    let broken = location(
        None,
        0,
        &[line(5, 0)],
        FrameType::Native,
        LocationKind::StackEnd(Outcome::Truncated),
    );
    let stacks = [
        builder.stack(&[leaf, main]),
        builder.stack(&[call, unnamed, main]),
        builder.stack(&[unnamed, broken]),
        builder.stack(&[call]),
    ];
    let container = "c0ffee".repeat(10) + "c0de";
    let mut thread = |process: &Process, tid, name: &str| {
        let process = builder.process(Arc::new(process.clone()));
        builder.thread(Thread {
            process,
            tid,
            name: name.into(),
        })
    };
    let free = process(100, "/bin/program", None);
    let contained = process(200, "/usr/bin/server", Some(&container));
    let mut worker = process(2, "", None);
    worker.comm = "kworker/0:1".into();
    let threads = [
        thread(&free, 100, "program"),
        thread(&free, 101, "worker"),
        thread(&contained, 200, "server"),
        thread(&worker, 2, "kworker/0:1"),
    ];
    let link = Link {
        trace_id: [0x1a; 16],
        span_id: [0x2b; 8],
    };
    let period = SamplePeriod::from_hertz(99);
    let at = |times: &[u64]| -> Occurrences<UnixTime> {
        let times = times.iter().map(|time| UnixTime(1_000 + time));
        Occurrences::equal(period.nanoseconds(), times.collect())
    };
    let label = |key: &str, value: &str| Label {
        key: key.into(),
        value: value.into(),
    };
    let labels = [
        LabelSetIndex(0),
        builder.labels(LabelSet {
            labels: Box::new([label("endpoint", "/cart"), label("user", HOSTILE[0])]),
            goroutine: Some(17),
        }),
    ];
    for (thread, stack, link, times) in [
        (0, 0, None, at(&[0, 3, 5])),
        (0, 1, None, at(&[1])),
        (1, 0, None, at(&[2])),
        (2, 0, Some(link), at(&[4])),
        (2, 2, None, at(&[6])),
        (3, 3, None, at(&[7])),
    ] {
        let key = SampleKey {
            thread: threads[thread],
            stack: stacks[stack],
            labels: labels[usize::from(link.is_some())],
            link,
        };
        builder.taken(key, &times);
    }
    for (process, outcome, count) in [
        (0, Outcome::Root, 5),
        (1, Outcome::Root, 1),
        (1, Outcome::Truncated, 1),
        (2, Outcome::NoUserStack, 1),
    ] {
        let mut outcomes = OutcomeCounts::default();
        (0..count).for_each(|_| outcomes.add(outcome));
        builder.outcomes(process, &outcomes);
    }
    let mut losses = Losses::default();
    losses.add(SampleLoss::RingFull, 3);
    losses.add(SampleLoss::WindowFull, 1);
    builder.losses(&losses);
    builder.finish(UnixTime(1_000), UnixTime(2_000), SampleKind::on_cpu(period))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        (0usize..HOSTILE.len()).prop_map(|index| HOSTILE[index].to_owned()),
        (0u32..12).prop_map(|number| format!("name{number}")),
    ]
}

fn frame_type() -> impl Strategy<Value = FrameType> {
    prop_oneof![
        Just(FrameType::Kernel),
        Just(FrameType::Native),
        Just(FrameType::Go)
    ]
}

/// A location: mapping, address, functions and lines, kind; indices are taken modulo what is there.
type AnyLocation = (Option<u32>, u64, Vec<(u32, u32)>, FrameType);
/// A sample: process, thread, stack of locations, link, times after the start.
type AnySample = (u32, u32, Vec<u32>, Option<u8>, Vec<u64>);

/// Any consistent profile of 1,000 nanoseconds from `start`, of CPU time or of time off it; without times where `timed` is
/// false.
pub(crate) fn any_profile(start: u64, timed: bool) -> impl Strategy<Value = Profile> {
    let location = (
        prop::option::of(0u32..4),
        0u64..0x1_0000,
        prop::collection::vec((0u32..8, 0u32..99), 1..4),
        frame_type(),
    );
    let sample = (
        0u32..5,
        0u32..3,
        prop::collection::vec(0u32..8, 1..9),
        prop::option::of(1u8..4),
        prop::collection::vec(0u64..1_000, 1..5),
    );
    (
        prop::collection::vec((name(), name()), 8),
        prop::collection::vec(name(), 4),
        prop::collection::vec(location, 8),
        prop::collection::vec((name(), prop::option::of("[0-9a-f]{64}")), 5),
        prop::collection::vec(sample, 0..30),
        1u32..1_000,
    )
        .prop_map(
            move |(functions, mappings, locations, processes, samples, hertz)| {
                let parts = Parts {
                    functions,
                    mappings,
                    locations,
                    processes,
                };
                parts.profile(&samples, start, timed, hertz)
            },
        )
}

struct Parts {
    functions: Vec<(String, String)>,
    mappings: Vec<String>,
    locations: Vec<AnyLocation>,
    processes: Vec<(String, Option<String>)>,
}

impl Parts {
    fn location(&self, builder: &mut ProfileBuilder, index: u32) -> LocationIndex {
        let (mapping, address, lines, frame_type) = &self.locations[index as usize];
        let mapping = mapping.map(|index| {
            builder.mapping(Mapping {
                file: self.mappings[index as usize].as_str().into(),
                memory_start: u64::from(index) * 0x1000,
                memory_limit: 0x1_0000,
                file_offset: 0,
                build_id: BuildId::new(&[index as u8; 20]),
                htl_hash: None,
            })
        });
        let lines = lines.iter().map(|(index, line)| {
            let (name, file) = &self.functions[*index as usize];
            LineEntry {
                function: function(builder, name, file),
                line: *line,
                column: 0,
            }
        });
        let lines = lines.collect();
        builder.location(Location {
            mapping,
            address: *address,
            lines,
            frame_type: *frame_type,
            kind: LocationKind::Named,
        })
    }

    fn profile(&self, samples: &[AnySample], start: u64, timed: bool, hertz: u32) -> Profile {
        let kind = if hertz.is_multiple_of(3) {
            SampleKind::OFF_CPU
        } else {
            SampleKind::on_cpu(SamplePeriod::from_hertz(hertz))
        };
        let value = |time: &u64| {
            kind.period
                .map_or(1_000 * (1 + time % 3), SamplePeriod::nanoseconds)
        };
        let mut builder = ProfileBuilder::default();
        for (pid, tid, frames, link, times) in samples {
            let (executable, container) = &self.processes[*pid as usize];
            let process = process(pid + 1, executable, container.as_deref());
            let process = builder.process(Arc::new(process));
            let thread = builder.thread(Thread {
                process,
                tid: tid + 1,
                name: self.mappings[*tid as usize].as_str().into(),
            });
            let stack: Vec<_> = frames
                .iter()
                .map(|index| self.location(&mut builder, *index))
                .collect();
            let stack = builder.stack(&stack);
            // Of the first of them only the span is known, of the last one only the trace.
            let link = link.map(|byte| Link {
                trace_id: [byte - 1; 16],
                span_id: [if byte == 3 { 0 } else { byte }; 8],
            });
            let taken = times.iter();
            let taken = taken.map(|time| (UnixTime(start + time), value(time)));
            let mut taken: Occurrences<UnixTime> = taken.collect();
            let sums = (taken.len() as u64, taken.total());
            if !timed {
                taken = Occurrences::default();
            }
            let labels = link.map_or_else(LabelSet::default, |link| LabelSet {
                labels: Box::new([Label {
                    key: "label".into(),
                    value: self.mappings[usize::from(link.trace_id[0])].as_str().into(),
                }]),
                goroutine: (link.span_id[0] == 2).then_some(u64::from(*tid)),
            });
            let key = SampleKey {
                thread,
                stack,
                labels: builder.labels(labels),
                link,
            };
            builder.sample(key, sums, &taken);
            let mut outcomes = OutcomeCounts::default();
            (0..sums.0).for_each(|_| outcomes.add(Outcome::Root));
            builder.outcomes(process, &outcomes);
        }
        builder.finish(UnixTime(start), UnixTime(start + 1_000), kind)
    }
}

/// Samples spelled out: their count, their value, and each of them.
pub(crate) type Flat = BTreeMap<String, (u64, u64, Vec<(UnixTime, u64)>)>;

/// Every sample spelled out, with count, value and times; panics where something is there twice.
pub(crate) fn flatten(profile: &Profile) -> Flat {
    fn assert_distinct<T: Eq + Hash>(values: &[T]) {
        assert_eq!(values.iter().collect::<HashSet<_>>().len(), values.len());
    }
    assert_distinct(&profile.functions);
    assert_distinct(&profile.mappings);
    assert_distinct(&profile.locations);
    assert_distinct(&profile.threads);
    assert_distinct(&profile.label_sets);
    let stacks: Vec<_> = (0..profile.stacks.len() as u32)
        .map(|index| profile.stacks.get(StackIndex(index)))
        .collect();
    assert_distinct(&stacks);
    assert!(profile.outcomes.len() == profile.processes.len());
    let mut flat = Flat::new();
    for sample in &profile.samples {
        let thread = &profile.threads[sample.thread.0 as usize];
        let process = &profile.processes[thread.process as usize];
        let stack: Vec<_> = profile
            .stacks
            .get(sample.stack)
            .iter()
            .map(|index| {
                let location = &profile.locations[index.0 as usize];
                let mapping = location
                    .mapping
                    .map(|index| &profile.mappings[index.0 as usize]);
                let lines: Vec<_> = location
                    .lines
                    .iter()
                    .map(|line| {
                        (
                            &profile.functions[line.function.0 as usize],
                            line.line,
                            line.column,
                        )
                    })
                    .collect();
                (
                    mapping,
                    location.address,
                    lines,
                    location.frame_type,
                    location.kind,
                )
            })
            .collect();
        let key = format!(
            "{process:?} {} {} {stack:?} {:?} {:?}",
            thread.tid, thread.name, profile.label_sets[sample.labels.0 as usize], sample.link
        );
        let mut taken: Vec<_> = sample.occurrences.iter().collect();
        taken.sort_unstable();
        if !taken.is_empty() {
            let sums = (taken.len() as u64, sample.occurrences.total());
            assert_eq!(sums, (sample.count, sample.value));
        }
        let old = flat.insert(key, (sample.count, sample.value, taken));
        assert!(old.is_none(), "one sample a thread, stack and link");
    }
    flat
}
