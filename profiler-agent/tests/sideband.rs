//! The side-band and the table of processes on the real kernel: what it reports of real programs
//! against what other tools say of them. Needs the privileges that the agent needs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use profiler_agent::collect::sideband::Sideband;
use profiler_agent::collect::sideband::open::MappingRecords;
use profiler_agent::profile::{
    Degradation, FileIdentity, MappingKind, ProcessEvent, ProcessEventKind,
};

use machine::{Agent, build_id, now, online_cpus};

#[test]
fn every_exec_is_seen_with_its_files() {
    check_execs(MappingRecords::BuildId);
}

/// As on kernels whose records have no build ids: they are read from the files, and are the same.
#[test]
fn without_build_ids_in_records_the_files_have_the_same() {
    check_execs(MappingRecords::Inode);
}

fn check_execs(records: MappingRecords) {
    const RUNS: usize = 200;
    let program = std::fs::canonicalize("/bin/true").unwrap();
    let mut expected = BTreeMap::new();
    let listing = Command::new("ldd").arg(&program).output().unwrap();
    for word in String::from_utf8(listing.stdout)
        .unwrap()
        .split_whitespace()
    {
        if let Ok(path) = std::fs::canonicalize(word) {
            expected.insert(path.clone(), build_id(&path).unwrap());
        }
    }
    expected.insert(program.clone(), build_id(&program).unwrap());
    assert!(expected.len() >= 3, "program, libc, loader: {expected:?}");

    let mut agent = Agent::start_with(records);
    assert_eq!(agent.sideband.records(), records);
    // Its end is the last that is waited for: other programs run `true` on this machine too.
    let directory = tempfile::tempdir().unwrap();
    let last = directory.path().join("last");
    std::fs::copy("/bin/true", &last).unwrap();
    let marker = last.clone();
    let spawner = std::thread::spawn(move || -> BTreeSet<u32> {
        let pids = (0..RUNS)
            .map(|_| {
                let mut child = Command::new("/bin/true").spawn().unwrap();
                child.wait().unwrap();
                child.id()
            })
            .collect();
        assert!(Command::new(marker).status().unwrap().success());
        pids
    });
    // Of each process that exec'd `true`: the files it had when it ended.
    let mut seen: BTreeMap<u32, BTreeMap<String, Option<String>>> = BTreeMap::new();
    let mut running: BTreeMap<u32, BTreeMap<String, Option<String>>> = BTreeMap::new();
    agent.run_until(|table, event| {
        let pid = match &event.kind {
            ProcessEventKind::Map { pid, .. } => *pid,
            ProcessEventKind::Exit { pid, tid } if pid == tid => {
                let is_last = running
                    .get(pid)
                    .is_some_and(|files| files.contains_key(last.to_str().unwrap()));
                seen.extend(running.remove(pid).map(|files| (*pid, files)));
                return is_last;
            }
            _ => return false,
        };
        if table.process(pid).is_some_and(|process| {
            [&program, &last].contains(&&std::path::PathBuf::from(&*process.executable))
        }) {
            let files = table
                .mappings(pid)
                .filter_map(|mapping| match &mapping.kind {
                    MappingKind::File { executable, .. } => Some((
                        executable.path.to_string(),
                        executable.build_id.map(|id| id.to_string()),
                    )),
                    MappingKind::Anonymous => None,
                })
                .collect();
            running.insert(pid, files);
        }
        false
    });
    let spawned = spawner.join().unwrap();
    for pid in spawned {
        let files = seen
            .get(&pid)
            .unwrap_or_else(|| panic!("exec of {pid} was not seen"));
        for (path, build_id) in &expected {
            assert_eq!(
                files.get(path.to_str().unwrap()),
                Some(&Some(build_id.clone())),
                "{path:?} of {pid} in {files:?}"
            );
        }
        assert!(files.contains_key("[vdso]"), "{files:?}");
    }
    assert_eq!(
        agent.sideband.take_losses().of(Degradation::SidebandLost),
        0
    );
    assert_eq!(
        agent
            .sideband
            .take_losses()
            .of(Degradation::SidebandMalformed),
        0
    );
}

#[test]
fn mapping_records_have_build_ids_on_this_kernel() {
    let mut agent = Agent::start();
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let mut by_build_id = 0;
    agent.run_until(|_, event| match &event.kind {
        ProcessEventKind::Map {
            pid: of,
            identity: FileIdentity::BuildId(_),
            ..
        } => {
            by_build_id += usize::from(*of == pid);
            false
        }
        ProcessEventKind::Exit { pid: of, .. } => *of == pid,
        _ => false,
    });
    assert!(by_build_id >= 3, "{by_build_id}");
}

/// Nobody reads while more happens than the rings hold.
#[test]
fn what_was_lost_is_found_by_the_next_scan() {
    let mut agent = Agent::start();
    for _ in 0..600 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    let mut unseen = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    // The first reading makes room; the kernel tells of the loss with a record that fits again.
    let mut events = Vec::new();
    agent.sideband.drain(&mut events);
    events.iter().for_each(|event| agent.table.apply(event));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                Command::new("/bin/true").status().unwrap();
            }
        });
        agent.run_until(|table, _| table.scan_wanted());
        stop.store(true, Ordering::Relaxed);
    });
    assert!(agent.sideband.take_losses().of(Degradation::SidebandLost) > 0);
    agent.table.scan(now());
    let process = agent.table.process(unseen.id()).unwrap();
    assert_eq!(&*process.comm, "cat");
    assert!(agent.table.mappings(unseen.id()).count() >= 3);
    drop(unseen.stdin.take());
    unseen.wait().unwrap();
}

#[test]
fn a_cpu_can_come_and_go() {
    let mut agent = Agent::start();
    let cpus = online_cpus();
    let child = Command::new("/bin/true").status().unwrap();
    assert!(child.success());
    agent
        .sideband
        .follow(&BTreeSet::new(), Instant::now(), false);
    assert_eq!(agent.sideband.fds().count(), 0);
    // What had been recorded is still delivered.
    let mut events = Vec::new();
    agent.sideband.drain(&mut events);
    let execs = |events: &[ProcessEvent]| {
        let exec = |event: &&ProcessEvent| matches!(event.kind, ProcessEventKind::Exec { .. });
        events.iter().filter(exec).count()
    };
    assert!(execs(&events) > 0);
    assert!(events.is_sorted_by_key(|event| event.time));
    agent.sideband.follow(&cpus, Instant::now(), false);
    agent.sideband.follow(&cpus, Instant::now(), false);
    assert_eq!(agent.sideband.fds().count(), cpus.len());
    // What happened in the meantime is to be found by a scan.
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let mut scan_wanted = false;
    agent.run_until(|table, event| {
        scan_wanted |= table.scan_wanted();
        matches!(event.kind, ProcessEventKind::Exec { pid: of, .. } if of == pid)
    });
    assert!(scan_wanted);
    assert_eq!(agent.sideband.take_losses().named().next(), None);
}

/// A CPU that is not there keeps no other from being followed.
#[test]
fn one_cpu_that_cannot_be_followed_is_a_trouble_and_no_end() {
    let mut cpus = online_cpus();
    let there = cpus.len();
    cpus.insert(100_000);
    let mut sideband = Sideband::open(&cpus).unwrap();
    assert_eq!(sideband.fds().count(), there);
    let troubles: Vec<_> = sideband.troubles().collect();
    assert_eq!(troubles.len(), 1);
    let (cpu, reason) = troubles[0];
    assert_eq!(cpu, 100_000);
    assert!(reason.contains("Invalid argument"), "{reason}");
    assert!(sideband.is_incomplete());
    let losses = sideband.take_losses();
    assert_eq!(losses.of(Degradation::SidebandMissing), 1);
    // With none that is there it is the end.
    let refused = Sideband::open(&[100_000].into()).unwrap_err().to_string();
    assert!(refused.contains("CPU 100000"), "{refused}");
}
