//! A real OpenTelemetry collector receives what the agent sampled.
//!
//! It is built first, which takes minutes: `cargo xtask test --with-peers`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::agent::until;
use profiler_tests::build::{c, rust};
use profiler_tests::claim::{C_ROOTS, arrived_whole, has_shares, names_all, reaches_root};
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::peer::collector::{Collector, Exporter};
use profiler_tests::peer::received::ReceivedSample;
use profiler_tests::pprof::Profile;
use profiler_tests::workload::Workload;
use tempfile::TempDir;

/// Samples of a workload to wait for.
const SAMPLES: i64 = 4000;

/// Is it a sample of this process?
fn of(pid: u32) -> impl Fn(&ReceivedSample) -> bool {
    let pid = pid.to_string();
    move |sample| sample.resource("process.pid") == pid
}

/// What the agent had stored at a time, when it had come to the collector too.
struct Stored {
    windows: BTreeMap<u64, u64>,
    directory: TempDir,
}

impl Stored {
    fn by(daemon: &Daemon, collector: &Collector, pids: &[u32]) -> Self {
        let windows = daemon.windows();
        let (newest, samples) = windows.last_key_value().expect("windows are stored");
        until("the newest window comes", || {
            collector.received().windows().get(newest) >= Some(samples)
        });
        let stored = Self {
            directory: TempDir::new().expect("a temporary directory"),
            windows,
        };
        let bounds = (stored.windows.keys().next(), stored.windows.keys().last());
        let (Some(first), Some(last)) = bounds else {
            panic!("nothing is stored");
        };
        for pid in pids {
            let query = format!("pid={pid}&group=none&from={first}&until={}", last + 1);
            daemon.save(&query, &stored.file(*pid));
        }
        stored
    }

    fn file(&self, pid: u32) -> PathBuf {
        self.directory.path().join(format!("{pid}.pb.gz"))
    }

    /// The stacks of a process came as they are stored, each as often. Returns what came, without the
    /// windows in which the agent had just started and its unwind tables were pending.
    fn came(&self, collector: &Collector, pid: u32) -> Profile {
        let (of, received) = (of(pid), collector.received());
        let is_stored = |sample: &ReceivedSample| self.windows.contains_key(&sample.window);
        let came = stacks(&received.profile(|sample| of(sample) && is_stored(sample)));
        let stored = stacks(&Profile::read(&self.file(pid)));
        for (stack, count) in &stored {
            assert_eq!(came.get(stack), Some(count), "came, stored: {stack:#?}");
        }
        assert_eq!(came.len(), stored.len(), "stacks came that are not stored");
        let steady = *self.windows.keys().nth(2).expect("three windows");
        received.profile(|sample| of(sample) && sample.window >= steady)
    }
}

/// How often each stack was sampled, with all that is said of its frames.
fn stacks(profile: &Profile) -> BTreeMap<Vec<String>, i64> {
    let mut stacks = BTreeMap::new();
    for sample in &profile.samples {
        let frames = sample.frames.iter().map(|frame| {
            let mapping = profile.mappings.get(&frame.mapping);
            let build_id = mapping.map_or("", |mapping| &mapping.build_id);
            format!(
                "{} {}:{} {:#x} {build_id} {}",
                frame.function, frame.file, frame.line, frame.address, frame.inlined
            )
        });
        *stacks.entry(frames.collect()).or_default() += sample.count();
    }
    stacks
}

/// The build id of a file, as `readelf` reads it.
fn build_id(file: &Path) -> String {
    let output = Command::new("readelf").arg("--notes").arg(file).output();
    let output = output.expect("binutils are installed (`cargo xtask test` sees to it)");
    let text = String::from_utf8_lossy(&output.stdout);
    let id = text.split("Build ID: ").nth(1).expect("a build id");
    id.split_whitespace().next().expect("an id").to_owned()
}

/// Every sample of a process says which program it is of. Frames of the program have its build id and,
/// where `function` holds for their name, this type; frames of the kernel have the kernel's.
fn is_described(
    collector: &Collector,
    pid: u32,
    program: &Path,
    (frame_type, function): (&str, fn(&str) -> bool),
) {
    let name = program.file_name().expect("a name").to_string_lossy();
    let path = program.to_string_lossy();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc is mounted");
    let resource = [
        ("service.name", &*name),
        ("process.executable.name", &*name),
        ("process.executable.path", &*path),
        ("host.name", host.trim()),
        ("telemetry.sdk.language", "rust"),
    ];
    let build_id = build_id(program);
    let (of, received) = (of(pid), collector.received());
    let mappings = received.profile(|_| false);
    let (mut of_program, mut of_kernel) = (0, 0);
    for sample in received.samples.iter().filter(|sample| of(sample)) {
        for (key, value) in resource {
            assert_eq!(sample.resource(key), value, "{key}: {sample:?}");
        }
        assert_eq!(sample.kind.0, "samples/count");
        assert_eq!(sample.kind.1, "cpu/nanoseconds");
        for (frame, kind) in sample.sample.frames.iter().zip(&sample.frame_types) {
            let mapping = &mappings.mappings[&frame.mapping];
            let is_kernel = mapping.file.starts_with("[kernel");
            assert_eq!(is_kernel, kind == "kernel", "{frame:?} {mapping:?}");
            of_kernel += u32::from(is_kernel);
            if mapping.file == path {
                assert_eq!(mapping.build_id, build_id, "{frame:?}");
                if function(&frame.function) {
                    assert_eq!(kind, frame_type, "{frame:?}");
                    of_program += 1;
                }
            }
        }
    }
    assert!(of_program > 0, "no frame of {path}");
    assert!(of_kernel > 0, "no frame of the kernel");
}

#[test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
fn a_collector_gets_what_was_sampled() {
    let collector = Collector::start(free_address(), Exporter::File);
    let (split, hash) = (c("split"), rust());
    let in_c = Workload::start(&mut Command::new(&split));
    let in_rust = Workload::start(&mut Command::new(&hash));
    let daemon = Daemon::start(collector.grpc());
    let pids = [in_c.pid(), in_rust.pid()];
    for pid in pids {
        until("samples come", || {
            collector.received().profile(of(pid)).count() >= SAMPLES
        });
    }
    let stored = Stored::by(&daemon, &collector, &pids);
    daemon.stop();
    let (truth_in_c, _) = (in_c.stop(), in_rust.stop());
    arrived_whole(&stored.windows, &collector.received().windows());
    let [of_c, _of_rust] = pids.map(|pid| stored.came(&collector, pid));
    is_described(&collector, pids[0], &split, ("native", |_| true));
    let is_rust = |function: &str| function.starts_with("workload::");
    is_described(&collector, pids[1], &hash, ("rust", is_rust));
    has_shares(&of_c, &truth_in_c);
    reaches_root(&of_c, C_ROOTS);
    names_all(&of_c, "split");
}

#[test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
fn a_collector_that_starts_late_gets_everything() {
    let address = free_address();
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::start(address);
    until("twenty windows are stored", || daemon.windows().len() >= 20);
    let collector = Collector::start(address, Exporter::File);
    let pid = workload.pid();
    let stored = Stored::by(&daemon, &collector, &[pid]);
    assert!(stored.windows.len() >= 20);
    daemon.stop();
    let truth = workload.stop();
    arrived_whole(&stored.windows, &collector.received().windows());
    has_shares(&stored.came(&collector, pid), &truth);
}
