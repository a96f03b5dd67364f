//! Saved profiles, read by programs that others wrote. Needs no root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use profiler_agent::export::{Format, ReadLimits, otlp, pprof};
use profiler_agent::profile::{
    BootTime, BuildId, FrameType, Function, LineEntry, Link, Location, LocationKind, Losses,
    Mapping, Occurrences, Process, ProcessKey, Profile, ProfileBuilder, SampleKey, SampleKind,
    SampleLoss, SamplePeriod, Thread, UnixTime,
};
use profiler_tests::pprof::Profile as ReadProfile;
use profiler_tests::python;
use profiler_tests::receiver::check::check;
use prost::Message;

const HOSTILE: &str = "<b>\"quoted\" \\ ; $(x)</b>";

/// Five samples of one thread: `hostile` inlined into `outer`, called by `main`; three times with a
/// link. The mapping names a program that is on this machine and has other symbols there.
fn profile() -> Profile {
    let mut builder = ProfileBuilder::default();
    let mapping = builder.mapping(Mapping {
        file: "/bin/ls".into(),
        memory_start: 0x4000,
        memory_limit: 0x9000,
        file_offset: 0x4000,
        build_id: BuildId::new(&[0xab; 20]),
        htl_hash: None,
    });
    let mut line = |name: &str, line| LineEntry {
        function: builder.function(Function {
            name: name.into(),
            system_name: name.into(),
            file: "src/main.c".into(),
            start_line: 1,
        }),
        line,
        column: 0,
    };
    let leaf = [line(HOSTILE, 7), line("outer", 8)];
    let main = [line("main", 9)];
    let stack = [(0x4100, &leaf[..]), (0x4200, &main[..])].map(|(address, lines)| {
        builder.location(Location {
            mapping: Some(mapping),
            address,
            lines: lines.into(),
            frame_type: FrameType::Native,
            kind: LocationKind::Named,
        })
    });
    let stack = builder.stack(&stack);
    let process = builder.process(Arc::new(Process {
        key: ProcessKey {
            pid: 4_000_000,
            started: BootTime(0),
        },
        parent: 1,
        comm: HOSTILE.into(),
        executable: "/bin/ls".into(),
        cgroup: "/".into(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    }));
    let thread = builder.thread(Thread {
        process,
        tid: 4_000_001,
        name: "worker 1".into(),
    });
    let link = Link {
        trace_id: [0x1a; 16],
        span_id: [0x2b; 8],
    };
    let period = SamplePeriod::from_hertz(99);
    let taken = |range: std::ops::Range<u64>| {
        let times = range.map(|n| UnixTime(1_000_000 + n));
        Occurrences::equal(period.nanoseconds(), times.collect())
    };
    let key = SampleKey::new(thread, stack);
    builder.taken(key, &taken(0..2));
    let link = Some(link);
    builder.taken(SampleKey { link, ..key }, &taken(2..5));
    let mut losses = Losses::default();
    losses.add(SampleLoss::RingFull, 3);
    builder.losses(&losses);
    builder.finish(
        UnixTime(1_000_000),
        UnixTime(2_000_000),
        SampleKind::on_cpu(period),
    )
}

fn saved(directory: &Path, profile: &Profile, format: Format) -> PathBuf {
    let path = directory.join(format!("profile{}", format.endings()[0]));
    fs::write(
        &path,
        format.encode(profile).expect("the profile is encoded"),
    )
    .expect("the file is written");
    path
}

#[test]
fn go_reads_pprof_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let read = ReadProfile::read(&saved(directory.path(), &profile(), Format::Pprof));
    assert_eq!(read.sample_types, ["samples/count", "cpu/nanoseconds"]);
    assert_eq!(read.period, 10_101_010);
    let values: Vec<_> = read
        .samples
        .iter()
        .map(|sample| sample.values.clone())
        .collect();
    assert_eq!(values, [[2, 20_202_020], [3, 30_303_030]]);
    let sample = &read.samples[1];
    assert_eq!(sample.functions(), ["main", "outer", HOSTILE]);
    let places: Vec<_> = sample
        .frames
        .iter()
        .map(|frame| {
            (
                frame.file.as_str(),
                frame.line,
                frame.address,
                frame.inlined,
            )
        })
        .collect();
    let file = "src/main.c";
    assert_eq!(
        places,
        [
            (file, 9, 0x4200, false),
            (file, 8, 0x4100, false),
            (file, 7, 0x4100, true)
        ]
    );
    assert_eq!(sample.label("pid"), "4000000");
    assert_eq!(sample.label("tid"), "4000001");
    assert_eq!(sample.label("thread"), "worker 1");
    assert_eq!(sample.label("executable"), "/bin/ls");
    assert_eq!(sample.label("trace_id"), "1a".repeat(16));
    assert_eq!(sample.label("span_id"), "2b".repeat(8));
    let mapping = &read.mappings[&1];
    assert_eq!(
        (mapping.start, mapping.limit, mapping.offset),
        (0x4000, 0x9000, 0x4000)
    );
    assert_eq!(mapping.build_id, "ab".repeat(20));
}

fn go(arguments: &[&str], directory: &Path) -> String {
    let output = Command::new("go")
        .args(arguments)
        .current_dir(directory)
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .output()
        .expect("go is installed (`cargo xtask test` sees to it)");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "go {arguments:?}: {errors}");
    format!("{}{errors}", String::from_utf8_lossy(&output.stdout))
}

#[test]
fn go_takes_our_names_and_comments() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path(), &profile(), Format::Pprof);
    let path = path.to_str().unwrap();
    // Without a word about symbolization: the addresses exist in /bin/ls.
    let top = go(&["tool", "pprof", "-top", path], directory.path());
    for name in ["main", "outer", "Type: cpu"] {
        assert!(top.contains(name), "{name} in {top}");
    }
    assert!(!top.contains("symboliz"), "{top}");
    let comments = go(&["tool", "pprof", "-comments", path], directory.path());
    assert!(comments.contains("losses: ring_full=3"), "{comments}");
}

const GO_PROGRAM: &str = r#"package main

import (
	"os"
	"runtime/pprof"
	"syscall"
)

// CPU time of this process in milliseconds: another load on the machine does not count.
func used() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Utime.Nano() / 1e6
}

//go:noinline
func spin(until int64) (n int) {
	for used() < until {
		for i := 0; i < 100000; i++ {
			n = step(n, i)
		}
	}
	return n
}

func step(n, i int) int { return n*31 + i }

func main() {
	file, _ := os.Create("cpu.pprof")
	pprof.StartCPUProfile(file)
	spin(used() + 500)
	pprof.StopCPUProfile()
	file.Close()
}
"#;

/// Functions and counts, as the independent reader sees them.
fn stacks(path: &Path) -> BTreeMap<Vec<String>, i64> {
    let mut stacks = BTreeMap::new();
    for sample in &ReadProfile::read(path).samples {
        let stack = sample.frames.iter().map(|frame| {
            format!(
                "{} {}:{} {:#x}",
                frame.function, frame.file, frame.line, frame.address
            )
        });
        *stacks.entry(stack.collect()).or_default() += sample.count();
    }
    stacks
}

#[test]
fn a_profile_of_gos_own_survives_reading_and_writing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("main.go"), GO_PROGRAM).unwrap();
    go(&["run", "main.go"], directory.path());
    let path = directory.path().join("cpu.pprof");
    let profile = pprof::decode(&fs::read(&path).unwrap(), &ReadLimits::default()).unwrap();
    let kind = SampleKind::on_cpu(SamplePeriod::from_hertz(100));
    assert_eq!(profile.kind, kind);
    assert_eq!(profile.processes.len(), 1);
    assert!(profile.processes[0].executable.ends_with("/main"));
    assert!(profile.sample_count() > 20, "{}", profile.sample_count());
    assert_eq!(
        profile.sample_count() as i64,
        ReadProfile::read(&path).count()
    );
    let again = saved(directory.path(), &profile, Format::Pprof);
    assert_eq!(stacks(&again), stacks(&path));
    // By way of OTLP, too.
    let bytes = Format::Otlp.encode(&profile).unwrap();
    check(&Message::decode(bytes.as_slice()).unwrap());
    let profile = otlp::decode(&bytes, &ReadLimits::default()).unwrap();
    let again = saved(directory.path(), &profile, Format::Pprof);
    assert_eq!(stacks(&again), stacks(&path));
}

#[test]
fn the_published_python_messages_read_otlp() {
    let directory = tempfile::tempdir().unwrap();
    let path = saved(directory.path(), &profile(), Format::Otlp);
    let text = python::read("otlp.py", &path);
    let build_id = "ab".repeat(20);
    let stack = format!(
        "native:{HOSTILE}<outer@/bin/ls+0x4100[{build_id}];native:main@/bin/ls+0x4200[{build_id}]"
    );
    let trace_id = "1a".repeat(16);
    let expected = format!(
        "profile samples/count 10101010 1000000+1000000\n\
         ls 4000000 4000001 worker 1 | {stack} | [1000000, 1000001] | \n\
         ls 4000000 4000001 worker 1 | {stack} | [1000002, 1000003, 1000004] | {trace_id}\n"
    );
    assert_eq!(text, expected);
}
