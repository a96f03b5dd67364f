//! A collector that is killed, and one that is away, while the agent samples.
//!
//! It is built first, which takes minutes: `cargo xtask test --with-peers`.

use std::net::TcpListener;
use std::process::Command;

use profiler_tests::agent::until;
use profiler_tests::build::c;
use profiler_tests::claim::arrived_whole;
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::measure::status_mib;
use profiler_tests::peer::collector::{Collector, Exporter};
use profiler_tests::receiver::Receiver;
use profiler_tests::workload::Workload;

/// How often the collector is killed.
const KILLS: usize = 10;
/// Windows, of a second each, that are closed while there is no collector.
const AWAY: usize = 120;
/// What the agent may grow by between the first third of them and the last: what waits is a megabyte or two.
const GROWTH_MIB: f64 = 16.0;

#[test]
#[ignore = "builds a collector first: cargo xtask test --with-peers"]
fn nothing_is_lost_while_a_collector_is_killed_and_away() {
    // Behind the collector, which answers when this one has answered; it never goes away.
    let sink = Receiver::behind_a_collector();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let forward = Exporter::Forward(listener.local_addr().expect("an address"));
    sink.serve(listener);
    let address = free_address();
    // Workloads end by themselves after two minutes.
    let work = || Workload::start(&mut Command::new(c("split")));
    let mut workload = Some(work());
    let mut collector = Collector::start(address, forward);
    let daemon = Daemon::start(address);
    let pass = |windows: usize| {
        let last = daemon.windows().len() + windows;
        until("windows are closed", || daemon.windows().len() >= last);
    };
    for _ in 0..KILLS {
        pass(2);
        drop(collector);
        pass(1);
        collector = Collector::start(address, forward);
    }
    drop(collector);
    let resident = || status_mib(daemon.pid(), "VmRSS:").expect("the agent runs");
    let mut settled = f64::INFINITY;
    for tens in 0..AWAY / 10 {
        if tens % 4 == 0 {
            drop(workload.replace(work()));
        }
        pass(10);
        if tens == 3 {
            settled = resident();
        }
    }
    let later = resident();
    eprintln!("resident after a third of the outage {settled:.1} MiB, at its end {later:.1} MiB");
    assert!(later <= settled + GROWTH_MIB, "{settled} {later}");
    let _collector = Collector::start(address, forward);
    let stored = daemon.windows();
    until("what was sampled comes", || {
        let came = sink.windows_once();
        let has =
            |(window, samples): (&u64, &u64)| *samples == 0 || came.get(window) == Some(samples);
        stored.iter().all(has)
    });
    arrived_whole(&stored, &sink.windows_once());
    daemon.stop();
    drop(workload);
    assert!(stored.len() >= AWAY + KILLS * 3);
    // Only what was under way when the collector was killed can have come twice: two payloads at most, each with a
    // profile for each process of the machine.
    let (twice, all) = (sink.twice().len() as u64, sink.profiles());
    eprintln!("{all} profiles, {twice} of them twice");
    assert!(twice * stored.len() as u64 <= all * 2 * KILLS as u64 * 2);
}
