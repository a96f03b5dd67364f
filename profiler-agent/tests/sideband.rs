//! The side-band and the table of processes on the real kernel: what it reports of real programs
//! against what other tools say of them. Needs the privileges that the agent needs.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use profiler_agent::profile::{FileIdentity, LossCause, MappingKind, ProcessEventKind};

use machine::{Agent, build_id};

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
