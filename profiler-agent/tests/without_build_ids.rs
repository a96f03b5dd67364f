//! The collector and the symbolizer on a kernel whose records of mappings have no build ids: forced here, so that what
//! kernels without them give is proved on every kernel. Needs the privileges that the agent needs.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use profiler_agent::app::collector::{ClosedWindow, Collector, CollectorConfig, Kinds, WindowSink};
use profiler_agent::app::economy::{Economy, Shortage};
use profiler_agent::collect::Selection;
use profiler_agent::collect::sideband::open::MappingRecords;
use profiler_agent::correlate;
use profiler_agent::profile::{Profile, SamplePeriod, merge};
use profiler_agent::symbolize::{SymbolizeConfig, SymbolizerThread};

/// Profiles `program` with this script and what it starts; it is executed after the collector has read the processes.
fn profile(records: MappingRecords, program: &Path, script: &str) -> Profile {
    let mut waiting = Command::new("/bin/sh")
        .args(["-c", "read go; exec \"$0\" -c \"$1\""])
        .args([program, Path::new(script)])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let (windows, incoming) = sync_channel(64);
    let sink = WindowSink {
        windows,
        new_locations: Box::new(|_| ()),
    };
    let config = CollectorConfig {
        kinds: Kinds {
            period: SamplePeriod::from_hertz(1999),
            on_cpu: true,
            off_cpu: None,
            off_cpu_required: false,
        },
        selection: Selection::Processes { children: true },
        selected: vec![waiting.id()],
        window: Duration::from_secs(60),
        economy: Economy::within(None, 32 << 20),
        memory: None,
        shortage: Shortage::default(),
        patience: Duration::from_secs(1),
        way: None,
        records,
        table_cache: None,
        correlation: correlate::Config::default(),
    };
    let collector = Collector::start(config, sink).expect("the collector starts");
    let mut go = waiting.stdin.take().expect("it is a pipe");
    go.write_all(b"\n").expect("it reads");
    assert!(waiting.wait().expect("it ends").success());
    collector.stop().expect("the collector stops");
    let (symbolizer, handle) =
        SymbolizerThread::spawn(SymbolizeConfig::default(), Default::default())
            .expect("a thread starts");
    let profiles: Vec<Profile> = incoming
        .into_iter()
        .map(|ClosedWindow { window, clocks, .. }| {
            let named = handle.resolve(window, clocks).expect("it is there");
            named.wait().expect("it answers")
        })
        .collect();
    drop(handle);
    symbolizer.join().expect("it ends");
    merge::merge(&profiles)
}

/// Of each file that the processes called `comm` have mapped: its build id, its samples, and those with a name.
fn files(profile: &Profile, comm: &str) -> BTreeMap<String, (Option<String>, u64, u64)> {
    let mut files = BTreeMap::new();
    for sample in &profile.samples {
        let thread = &profile.threads[sample.thread.0 as usize];
        if &*profile.processes[thread.process as usize].comm != comm {
            continue;
        }
        let Some(leaf) = profile.stacks.get(sample.stack).first() else {
            continue;
        };
        let location = &profile.locations[leaf.0 as usize];
        let Some(mapping) = location.mapping else {
            continue;
        };
        let mapping = &profile.mappings[mapping.0 as usize];
        let build_id = mapping.build_id.map(|build_id| build_id.to_string());
        let file = files
            .entry(mapping.file.to_string())
            .or_insert((build_id, 0, 0));
        file.1 += sample.count;
        file.2 += if location.kind.is_named() {
            sample.count
        } else {
            0
        };
    }
    files
}

#[test]
fn profiles_name_the_same_files_and_functions() {
    // A program of its own name, so that nobody else's samples are counted; it starts others all the time.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shell = directory.path().join("busy-shell");
    std::fs::copy("/bin/bash", &shell).expect("bash is installed");
    let script = "for i in $(seq 60); do x=$(/bin/true); for j in $(seq 3000); do x=$j$x; x=${x:0:20}; done; done";
    let found = [MappingRecords::BuildId, MappingRecords::Inode]
        .map(|records| files(&profile(records, &shell, script), "busy-shell"));
    let path = shell.to_str().expect("the path is text");
    let shares = found.each_ref().map(|files| {
        println!("{files:?}");
        let (build_id, samples, named) = &files[path];
        assert!(*samples > 100, "{samples} samples");
        assert!(build_id.is_some());
        let library = files.iter().find(|(file, _)| file.contains("libc.so"));
        let (build_id, samples_of_library, named_of_library) =
            library.expect("the C library is sampled").1;
        assert!(build_id.is_some());
        assert!(named_of_library * 100 >= samples_of_library * 90);
        *named as f64 / *samples as f64
    });
    // Debian's bash has no names of its static functions.
    assert!(
        shares[0] > 0.3 && (shares[0] - shares[1]).abs() < 0.2,
        "{shares:?}"
    );
    // What both saw is the same.
    for (file, (build_id, ..)) in &found[0] {
        if let Some((same, ..)) = found[1].get(file) {
            assert_eq!(same, build_id, "{file}");
        }
    }
}
