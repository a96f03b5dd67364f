//! Programs with hundreds of megabytes of debug information: their stacks are named, and the agent stays
//! as small as with any other.

use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::agent::{Recording, record_process, run};
use profiler_tests::build::c;
use profiler_tests::bulk::with_debug_info;
use profiler_tests::claim::{C_ROOTS, has_chain, reaches_root};
use profiler_tests::pprof::Sample;
use profiler_tests::workload::Workload;
use profiler_tests::workspace;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// What the agent may have resident, of its own and of files.
const RESIDENT: u64 = 60 * MIB;
/// Seconds of CPU time that a recording may cost; it takes a small part of it. Reading all of the debug
/// information would cost more.
const CPU_SECONDS: f64 = 5.0;

/// The program `vast` with at least so many bytes of debug information; gone when dropped.
struct Large {
    program: PathBuf,
    _directory: TempDir,
}

impl Large {
    fn new(bytes: u64) -> Self {
        // Not in /tmp, which may be memory.
        let directory = TempDir::new_in(workspace().join("target")).expect("target is there");
        let program = directory.path().join("vast");
        let plain = c("vast");
        let start = address_of(&plain, "unit_code");
        with_debug_info(&plain, start..start + 16 * MIB, bytes, &program);
        let length = program.metadata().expect("it was written").len();
        assert!(length >= bytes, "{length} bytes");
        Self {
            program,
            _directory: directory,
        }
    }

    fn record(&self) -> Recording {
        let workload = Workload::start(&mut Command::new(&self.program));
        let recording = record_process(workload.pid(), 2.0);
        println!(
            "{} MiB resident at most; {}",
            recording.peak_resident / MIB,
            recording.log.trim()
        );
        recording
    }
}

fn address_of(program: &Path, symbol: &str) -> u64 {
    let output = run(Command::new("nm").arg(program));
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.ends_with(&format!(" {symbol}")));
    let line = line.unwrap_or_else(|| panic!("{symbol} is not in {}", program.display()));
    u64::from_str_radix(&line[..16], 16).expect("an address")
}

/// What holds however much of the debug information is read.
fn is_named_and_cheap(recording: &Recording) {
    has_chain(&recording.profile, &["main", "run_cycle", "burn"]);
    reaches_root(&recording.profile, C_ROOTS);
    assert!(
        recording.peak_resident <= RESIDENT,
        "{} MiB resident: {}",
        recording.peak_resident / MIB,
        recording.log
    );
    assert!(
        recording.cpu_seconds <= CPU_SECONDS,
        "{} s of CPU time: {}",
        recording.cpu_seconds,
        recording.log
    );
}

/// How many samples have the line of the leaf `burn`.
fn with_lines(recording: &Recording) -> i64 {
    let samples = recording.profile.samples.iter();
    let lined = samples.filter(|sample| {
        let leaf = sample.frames.iter().rfind(|frame| frame.function == "burn");
        leaf.is_some_and(|leaf| leaf.file.ends_with("vast.c") && leaf.line > 0)
    });
    lined.map(Sample::count).sum()
}

#[test]
fn a_gibibyte_of_debug_information_is_left_out_and_said_so() {
    let large = Large::new(1024 * MIB);
    let recording = large.record();
    is_named_and_cheap(&recording);
    assert!(
        recording.log.contains("debug_info_budget"),
        "{}",
        recording.log
    );
    assert_eq!(with_lines(&recording), 0);
}

#[test]
fn what_the_budget_just_allows_is_read() {
    let large = Large::new(240 * MIB);
    let recording = large.record();
    is_named_and_cheap(&recording);
    assert!(recording.log.contains("lost: nothing"), "{}", recording.log);
    assert!(
        with_lines(&recording) as f64 >= 0.95 * recording.profile.count() as f64,
        "{} of {} samples have lines",
        with_lines(&recording),
        recording.profile.count()
    );
}
