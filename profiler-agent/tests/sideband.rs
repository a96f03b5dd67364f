//! The side-band and the table of processes on the real kernel: what it reports of real programs
//! against what other tools say of them. Needs the privileges that the agent needs.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use profiler_agent::profile::{
    FileIdentity, LossCause, MappingKind, ProcessEvent, ProcessEventKind,
};

use machine::{Agent, build_id, now, online_cpus};

#[test]
fn every_exec_is_seen_with_its_files() {
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

    let mut agent = Agent::start();
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
    assert_eq!(agent.sideband.take_losses().of(LossCause::SidebandLost), 0);
    assert_eq!(
        agent
            .sideband
            .take_losses()
            .of(LossCause::SidebandMalformed),
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
    assert!(agent.sideband.take_losses().of(LossCause::SidebandLost) > 0);
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
    for cpu in &cpus {
        agent.sideband.remove_cpu(*cpu);
    }
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
    for cpu in &cpus {
        agent.sideband.add_cpu(*cpu).unwrap();
        agent.sideband.add_cpu(*cpu).unwrap();
    }
    assert_eq!(agent.sideband.fds().count(), cpus.len());
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    agent.run_until(
        |_, event| matches!(event.kind, ProcessEventKind::Exec { pid: of, .. } if of == pid),
    );
    let absent = agent.sideband.add_cpu(100_000).unwrap_err().to_string();
    assert!(absent.contains("CPU 100000"), "{absent}");
}
