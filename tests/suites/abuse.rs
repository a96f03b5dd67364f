//! An agent that is told to change again and again, by good files and bad ones, and is given hardly any CPU time: it
//! goes on, with the last good file in effect, and each sample is delivered, stored, waiting or lost with a cause.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;

use profiler_tests::agent::until;
use profiler_tests::build::c;
use profiler_tests::claim::arrived_whole;
use profiler_tests::daemon::Daemon;
use profiler_tests::quota::CpuQuota;
use profiler_tests::receiver::Receiver;
use profiler_tests::workload::Workload;

/// Samples a second that an agent with hardly any CPU time is asked for.
const SLOW: &str = "sampling: {frequency: 19, window: 1s}\n";

/// The exporters that the agent's metrics tell of.
fn exporters(metrics: &BTreeMap<String, f64>) -> BTreeSet<String> {
    let names = metrics.keys().filter_map(|name| {
        let labels = name.strip_prefix("profiler_delivery_waiting_samples{destination=\"")?;
        labels.split('"').next()
    });
    names.map(str::to_owned).collect()
}

/// Samples that came for the exporter, where each of them is accounted for.
pub(crate) fn balanced(metrics: &BTreeMap<String, f64>, exporter: &str) -> f64 {
    let all = |metric: &str| -> f64 {
        let begin = format!("profiler_delivery_{metric}{{destination=\"{exporter}\"");
        let of = metrics.iter().filter(|(name, _)| name.starts_with(&begin));
        of.map(|(_, value)| value).sum()
    };
    let came = all("queued_samples_total");
    let went = all("samples_total")
        + all("waiting_samples")
        + all("lost_samples_total")
        + all("left_samples_total");
    assert_eq!(came, went, "{exporter}: {metrics:#?}");
    came
}

/// Samples in windows that were named, where each of them is in the store, or known not to be; no more than were taken.
fn stored(metrics: &BTreeMap<String, f64>) -> f64 {
    let of = |name: &str| metrics[name];
    let stacks = metrics
        .iter()
        .filter(|(name, _)| name.starts_with("profiler_stacks_total"));
    let named: f64 = stacks.map(|(_, value)| value).sum();
    let stored = of("profiler_store_samples_total");
    assert_eq!(
        named,
        stored + of("profiler_store_lost_samples_total"),
        "{metrics:#?}"
    );
    // Of those that were read each is in a named window, lost on the way there, or on the way.
    let lost = ["process_unknown", "window_full", "pipeline_behind"].map(|cause| {
        let name = format!("profiler_samples_lost_total{{cause=\"{cause}\"}}");
        metrics.get(&name).copied().unwrap_or_default()
    });
    let open = of("profiler_samples_open");
    let accounted = named + lost.iter().sum::<f64>() + open;
    assert_eq!(of("profiler_samples_total"), accounted, "{metrics:#?}");
    stored
}

/// The metrics, when the file as it was read last is in effect with exactly these exporters.
fn in_effect(daemon: &Daemon, wanted: &[&str]) -> BTreeMap<String, f64> {
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let mut found = BTreeMap::new();
    until("the last good file is in effect", || {
        let Some(metrics) = daemon.metrics() else {
            return false;
        };
        let stored = stored(&metrics);
        for exporter in exporters(&metrics) {
            // Nothing comes for an exporter that is not stored first, but what was left for it on disk.
            let from_windows = format!(
                "profiler_delivery_queued_samples_total{{destination=\"{exporter}\",source=\"window\"}}"
            );
            assert!(metrics[&from_windows] <= stored, "{metrics:#?}");
            let _came = balanced(&metrics, &exporter);
        }
        found = metrics;
        found["profiler_config_in_effect"] == 1.0 && exporters(&found) == wanted
    });
    found
}

/// Waits until a bad file is known to be one; why it is.
fn refused(daemon: &Daemon) -> String {
    until("the file is refused", || {
        daemon
            .metrics()
            .is_some_and(|metrics| metrics["profiler_config_in_effect"] == 0.0)
    });
    String::from_utf8(daemon.telemetry("/healthz", "").body).expect("a text")
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with_unread_log(&[("PROFILER_LOG", "trace")]);
    crate::hostile::windows(&daemon, 5);
    workload.stop();
    daemon.stop();
}

#[test]
fn what_is_in_effect_survives_every_bad_file() {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    receiver.serve(listener);
    let daemon = Daemon::with("");
    std::fs::write(daemon.directory().join("file"), "no directory").expect("a file");
    let good = format!(
        "exporters: {{otlp_grpc: {{endpoint: 'http://{address}'}}, file: {{directory: DIRECTORY/files}}}}\n"
    );
    daemon.configure(&good);
    let before = in_effect(&daemon, &["file", "otlp_grpc"]);
    for (bad, word) in [
        ("store: {directory: DIRECTORY/file/store}\n", "store"),
        ("spool: {directory: DIRECTORY/file/spool}\n", "spool"),
        ("exporters: [\n", "agent.yaml"),
        ("sampling: {frequency: 0}\n", "frequency"),
        (
            "page: {endpoint: \"192.0.2.1:80\", allow_unauthenticated: true}\n",
            "192.0.2.1",
        ),
    ] {
        let file = if bad.starts_with("exporters") {
            bad.to_owned()
        } else {
            format!("{good}{bad}")
        };
        daemon.configure(&file);
        let said = refused(&daemon);
        assert!(
            said.starts_with("healthy\n") && said.contains(word),
            "{bad}: {said}"
        );
        let metrics = daemon.metrics().expect("an answer");
        assert_eq!(exporters(&metrics), exporters(&before), "{bad}");
        let came = balanced(&metrics, "otlp_grpc");
        until("samples go on to come", || {
            let metrics = daemon.metrics().expect("an answer");
            balanced(&metrics, "otlp_grpc") > came
        });
        daemon.configure(&good);
        let _metrics = in_effect(&daemon, &["file", "otlp_grpc"]);
    }
    // A `file` exporter that changes writes to the same directory.
    daemon.configure(&good.replace("/files", "/files, format: otlp"));
    until("a file of the new format", || {
        let files = std::fs::read_dir(daemon.directory().join("files")).expect("a directory");
        files
            .flatten()
            .any(|file| file.path().extension().is_some_and(|end| end == "otlp"))
    });
    let _metrics = in_effect(&daemon, &["file", "otlp_grpc"]);
    daemon.stop();
}

#[test]
fn a_storm_of_changes_with_hardly_any_cpu_time_ends_with_the_last_good_file() {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    receiver.serve(listener);
    let workload = Workload::start(&mut Command::new(c("split")));
    let otlp = format!("otlp_grpc: {{endpoint: 'http://{address}'}}");
    let good = |frequency: u32, more: &str| {
        format!("sampling: {{frequency: {frequency}, window: 1s}}\nexporters: {{{otlp}{more}}}\n")
    };
    let daemon = Daemon::with(&good(19, ""));
    std::fs::write(daemon.directory().join("file"), "no directory").expect("a file");
    until("a window is stored", || !daemon.windows().is_empty());
    let quota = CpuQuota::of(daemon.pid(), 5);
    let windows = || {
        let answer = daemon.try_ask("/api/windows")?;
        answer["windows"].as_array().map(Vec::len)
    };
    // Signals go on to come while the agent ends and starts everything.
    let goes_on = || {
        let mut before = None;
        until("windows are stored meanwhile", || {
            daemon.hang_up();
            before = before.or_else(windows);
            before.is_some_and(|before| windows().is_some_and(|now| now > before + 1))
        });
    };
    for round in 0..4 {
        daemon.configure(&good(
            19 + round % 2,
            ", file: {directory: DIRECTORY/files}",
        ));
        goes_on();
        daemon.configure("exporters: [");
        daemon.configure(&format!(
            "{SLOW}store: {{directory: DIRECTORY/file/store}}\nexporters: {{{otlp}}}\n"
        ));
        goes_on();
    }
    daemon.configure(&good(
        29,
        ", file: {directory: DIRECTORY/files, max_size: 2MiB}",
    ));
    goes_on();
    let _metrics = in_effect(&daemon, &["file", "otlp_grpc"]);
    let stored = daemon.windows();
    until("all of it is delivered", || {
        let came = receiver.windows_once();
        stored
            .iter()
            .all(|(start, samples)| *samples == 0 || came.contains_key(start))
    });
    // What it cannot do in its time it leaves, and ends without an error.
    daemon.stop_starved(quota);
    drop(workload);
    arrived_whole(&stored, &receiver.windows_once());
}

#[test]
fn an_agent_that_cannot_name_its_last_window_in_time_ends_without_an_error() {
    let workload = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with("exporters: {file: {directory: DIRECTORY/files}}\n");
    until("a window is stored", || !daemon.windows().is_empty());
    let quota = CpuQuota::of(daemon.pid(), 1);
    daemon.stop_starved(quota);
    drop(workload);
}

#[test]
fn every_sample_is_accounted_for_while_receivers_come_and_go_and_files_change() {
    let receiver = Receiver::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let daemon = Daemon::with(&format!(
        "exporters: {{otlp_grpc: {{endpoint: 'http://{address}'}}}}\n"
    ));
    until("a window waits", || {
        let metrics = daemon.metrics().expect("an answer");
        balanced(&metrics, "otlp_grpc") > 0.0
    });
    for timeout in 1..=4 {
        daemon.configure(&format!(
            "exporters: {{otlp_grpc: {{endpoint: 'http://{address}', timeout: {timeout}s}}, file: {{directory: \
             DIRECTORY/files}}}}\n"
        ));
        let came = balanced(&in_effect(&daemon, &["file", "otlp_grpc"]), "otlp_grpc");
        until("samples go on to come", || {
            let metrics = daemon.metrics().expect("an answer");
            balanced(&metrics, "otlp_grpc") > came
        });
        daemon.configure("exporters: {");
        let _why = refused(&daemon);
    }
    receiver.serve(TcpListener::bind(address).expect("the port is still free"));
    let stored = daemon.windows();
    until("what waited is delivered", || {
        let metrics = daemon.metrics().expect("an answer");
        let _came = balanced(&metrics, "otlp_grpc");
        let newest = stored.keys().next_back().expect("windows");
        receiver.windows_once().contains_key(newest)
    });
    let metrics = daemon.metrics().expect("an answer");
    let lost = metrics.iter().filter(|(name, _)| {
        name.starts_with("profiler_delivery_lost_samples_total")
            || name.starts_with("profiler_samples_lost_total")
    });
    assert_eq!(
        lost.map(|(_, value)| value).sum::<f64>(),
        0.0,
        "{metrics:#?}"
    );
    daemon.stop();
    arrived_whole(&stored, &receiver.windows_once());
}
