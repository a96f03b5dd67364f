//! Delivery: what the agent closes arrives, whatever becomes of the receiver, of the agent and of its configuration.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use profiler_tests::agent::{cpu_seconds, until};
use profiler_tests::build::c;
use profiler_tests::claim::arrived_whole;
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::pprof::Profile;
use profiler_tests::receiver::Receiver;
use profiler_tests::workload::Workload;
use rustix::process::{Pid, Signal, kill_process};

/// Times that the agent is killed.
const KILLS: usize = 3;

#[test]
fn an_agent_that_is_killed_goes_on_where_it_stopped() {
    let receiver = Receiver::default();
    let address = free_address();
    let more = format!(
        "spool: {{directory: DIRECTORY/spool, write_after: 0s}}\n\
         exporters:\n  otlp_grpc: {{endpoint: \"http://{address}\"}}\n"
    );
    let workload = Workload::start(&mut Command::new(c("split")));
    let mut daemon = Daemon::with(&more);
    // The newest window of each run may have been kept and not yet written for the receiver.
    let mut newest = Vec::new();
    let mut wanted = 0;
    for _ in 0..KILLS {
        wanted += 4;
        until("windows are stored", || daemon.windows().len() >= wanted);
        newest.extend(daemon.windows().into_keys().next_back());
        daemon = daemon.kill_and_start(&more);
        newest.extend(daemon.windows().into_keys().next_back());
    }
    until("one window more is stored", || {
        daemon.windows().len() > wanted
    });
    drop(workload);
    receiver.serve(TcpListener::bind(address).expect("the port is still free"));
    let mut stored: BTreeMap<u64, u64> = daemon.windows();
    let last = *stored.keys().next_back().expect("windows");
    until("the last of them came", || {
        receiver.windows().contains_key(&last)
    });
    daemon.stop();
    let arrived = receiver.windows();
    stored.retain(|window, _| !newest.contains(window) || arrived.contains_key(window));
    assert!(stored.len() >= KILLS * 3, "{stored:?}");
    arrived_whole(&stored, &arrived);
    assert_eq!(receiver.twice(), Vec::<Vec<u8>>::new());
}

/// The profiles in a directory, and their samples.
fn files(directory: &Path) -> Vec<u64> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let whole = paths.filter(|path| path.to_string_lossy().ends_with(".pb.gz"));
    whole
        .map(|path| Profile::read(&path).count().cast_unsigned())
        .collect()
}

#[test]
fn a_changed_configuration_takes_effect_and_a_wrong_one_does_not() {
    let receiver = Receiver::default();
    let address = free_address();
    receiver.serve(TcpListener::bind(address).expect("the port is free"));
    let exporter = format!("otlp_grpc: {{endpoint: \"http://{address}\"}}");
    let one = format!("exporters:\n  {exporter}\n");
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with(&one);
    until("a window arrives", || !receiver.windows().is_empty());

    // Another one beside it.
    let directory = daemon.directory().join("profiles");
    daemon.configure(&format!("{one}  file: {{directory: DIRECTORY/profiles}}\n"));
    until("files come", || files(&directory).len() >= 2);

    // What is wrong changes nothing.
    let before = (receiver.windows().len(), files(&directory).len());
    daemon.configure("exporters:\n  kafka: {}\n");
    until("windows still go to both", || {
        receiver.windows().len() >= before.0 + 3 && files(&directory).len() >= before.1 + 3
    });
    daemon.configure("store: {directory: /proc/nowhere}\nsampling: {window: 2s}\n");
    let before = receiver.windows().len();
    until("windows still come", || {
        receiver.windows().len() >= before + 3
    });

    // The first one is taken out, the second stays; nothing that was closed is lost on the way.
    daemon.configure("exporters:\n  file: {directory: DIRECTORY/profiles}\n");
    let before = files(&directory).len();
    until("files still come", || files(&directory).len() >= before + 3);
    let stored = daemon.windows();
    let arrived = receiver.windows();
    let newest = arrived.keys().next_back().copied().expect("windows");
    let until_then: BTreeMap<u64, u64> = stored
        .into_iter()
        .filter(|(window, _)| *window <= newest)
        .collect();
    arrived_whole(&until_then, &arrived);

    // What cannot change under way changes by starting again, in the same process.
    let pid = daemon.pid();
    daemon.configure("sampling: {frequency: 199, window: 2s}\n");
    until("windows are longer", || {
        let status = daemon.try_ask("/api/status");
        status.is_some_and(|status| status["agent"]["window_seconds"].as_f64() == Some(2.0))
    });
    assert_eq!(daemon.pid(), pid);
    drop(workload);
    daemon.stop();
}

#[test]
fn files_hold_what_was_sampled() {
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon =
        Daemon::with("exporters:\n  file: {directory: DIRECTORY/profiles, max_size: 16MiB}\n");
    let directory = daemon.directory().join("profiles");
    until("files come", || files(&directory).len() >= 4);
    let stored: Vec<u64> = daemon.windows().into_values().collect();
    for samples in files(&directory).iter().take(4) {
        assert!(
            stored.contains(samples),
            "{samples} is in no window of {stored:?}"
        );
    }
    drop(workload);
    daemon.stop();
}

/// A sample belongs to the window of its own time, also when it was read much later.
#[test]
fn an_agent_that_was_stopped_fills_the_windows_of_the_samples_times() {
    /// Windows of a second each that pass while the agent is stopped.
    const WINDOWS: usize = 5;
    const HERTZ: u64 = 99;

    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with("sampling: {frequency: 99, window: 1s}\n");
    until("two windows are stored", || daemon.windows().len() >= 2);
    let agent = Pid::from_raw(daemon.pid().cast_signed()).expect("a process id");
    kill_process(agent, Signal::STOP).expect("the agent runs");
    let before = cpu_seconds(workload.pid());
    until("the workload goes on", || {
        cpu_seconds(workload.pid()) > before + WINDOWS as f64
    });
    kill_process(agent, Signal::CONT).expect("the agent is stopped");
    let known = daemon.windows().len();
    until("the windows of that time are stored", || {
        daemon.windows().len() > known + WINDOWS
    });
    let windows = daemon.windows();
    let cpus = std::thread::available_parallelism()
        .expect("the kernel says")
        .get() as u64;
    for (start, samples) in &windows {
        // A window of another length began with the agent; a timer may fire a moment late.
        assert!(
            *samples <= cpus * HERTZ * 5 / 4,
            "{samples} in the window of {start}: {windows:?}"
        );
    }
    workload.stop();
    daemon.stop();
}
