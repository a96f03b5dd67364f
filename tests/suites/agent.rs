//! The daemon: what it samples is in its store, on its page and, as it was sampled, at a receiver,
//! even one that starts late; it stops when asked to.

use std::net::TcpListener;
use std::process::Command;

use profiler_tests::agent::until;
use profiler_tests::build::c;
use profiler_tests::claim::{TOLERANCE, arrived_whole};
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::receiver::Receiver;
use profiler_tests::workload::Workload;

#[test]
fn a_receiver_gets_what_was_sampled_and_the_agent_stops_when_asked() {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    receiver.serve(listener);
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::start(address);
    until("samples of the workload came", || {
        receiver.samples_in("run_cycle") >= 8000
    });
    let stored = daemon.windows();
    assert!(stored.len() >= 3, "{stored:?}");
    daemon.stop();
    let truth = workload.stop();
    arrived_whole(&stored, &receiver.windows());
    let all = receiver.samples_in("run_cycle") as f64;
    for (function, share) in &truth.shares {
        let measured = receiver.samples_in(function) as f64 / all;
        assert!(
            (measured - share).abs() <= TOLERANCE,
            "{function}: {measured:.3}, {share:.3} in truth"
        );
    }
}

/// Late by so many windows of a second that the agent has tried again with intervals that grew to the longest one.
#[test]
fn a_receiver_that_starts_late_gets_everything() {
    const LATE: usize = 15;
    let receiver = Receiver::default();
    let address = free_address();
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with(&format!(
        "exporters: {{otlp_grpc: {{endpoint: 'http://{address}', retry_on_failure: {{initial_interval: 1s, max_interval: \
         3s}}}}}}\n"
    ));
    until("windows wait", || daemon.windows().len() >= LATE);
    let stored = daemon.windows();
    receiver.serve(TcpListener::bind(address).expect("the port is still free"));
    until("the last of them came", || {
        let newest = stored.keys().next_back().expect("windows");
        receiver.windows().contains_key(newest)
    });
    daemon.stop();
    drop(workload);
    arrived_whole(&stored, &receiver.windows());
}
