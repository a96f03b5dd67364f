//! What the agent says about itself: its metrics, its probes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use profiler_tests::agent::{self, run, until};
use profiler_tests::daemon::{Daemon, free_address};

/// The samples of a metrics text, as Prometheus' own client for Python reads them.
fn samples(text: &[u8]) -> BTreeMap<String, f64> {
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        for family in read(sys.stdin.read()):\n    for s in family.samples:\n        \
        print(s.name + ''.join(f'|{k}={v}' for k, v in s.labels.items()), float(s.value), sep='\\t')\n";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(text).expect("the text is read");
    drop(input);
    let output = python.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(text));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('\t').expect("name and value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn metrics(daemon: &Daemon) -> BTreeMap<String, f64> {
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = daemon.telemetry("/metrics", accept);
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(
        answer.head.contains("application/openmetrics-text"),
        "{}",
        answer.head
    );
    samples(&answer.body)
}

#[test]
fn metrics_agree_with_what_others_count() {
    let receiver = free_address();
    let daemon = Daemon::start(receiver);
    until("windows close", || daemon.windows().len() >= 3);
    let before: u64 = daemon.windows().values().sum();
    let now = metrics(&daemon);
    let after = daemon.ask("/api/status")["agent"].clone();
    let number = |key: &str| after[key].as_f64().expect("a number");

    let of = |name: &str| *now.get(name).unwrap_or_else(|| panic!("{name}\n{now:#?}"));
    assert!(before > 0 && before as f64 <= of("profiler_samples_total"));
    assert!(of("profiler_samples_total") <= number("samples"));
    assert!(of("profiler_windows_total") >= 3.0);
    assert!(of("profiler_stacks_total|outcome=root") > 0.0);
    let cpu = of("profiler_cpu_seconds_total");
    assert!(0.0 < cpu && cpu <= number("cpu_seconds"), "{cpu}");
    let kernel = agent::cpu_seconds(daemon.pid());
    assert!(cpu <= kernel + 0.1, "{cpu} s, the kernel says {kernel} s");
    let resident = of("profiler_resident_memory_bytes");
    assert!((4e6..1e9).contains(&resident), "{resident}");
    let rings = of("profiler_ring_memory_bytes");
    assert!(0.0 < rings && rings <= of("profiler_bpf_memory_bytes"));
    assert_eq!(of("profiler_ready"), 1.0);
    assert_eq!(of("profiler_healthy"), 1.0);
    // Nobody listens there: attempts fail and are counted, and change nothing above.
    until("an attempt fails", || {
        metrics(&daemon)["profiler_delivery_attempts_total|destination=otlp_grpc/environment|outcome=retry"]
            > 0.0
    });
    let now = metrics(&daemon);
    assert_eq!(
        now["profiler_delivery_payloads_total|destination=otlp_grpc/environment"],
        0.0
    );
    assert!(now["profiler_delivery_waiting_payloads|destination=otlp_grpc/environment"] > 0.0);
    assert_eq!(now["profiler_ready"] + now["profiler_healthy"], 2.0);
    daemon.stop();
}

/// The ids of the BPF objects of a kind that a process has descriptors of.
fn held(pid: u32, kind: &str) -> BTreeSet<u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the process runs");
    let field = format!("{kind}_id:");
    let texts = descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_to_string(descriptor.path()).ok());
    let ids = texts.filter_map(|text| {
        let id = text.lines().find_map(|line| line.strip_prefix(&field))?;
        id.trim().parse().ok()
    });
    ids.collect()
}

#[test]
fn bpf_memory_is_what_the_kernel_says() {
    let daemon = Daemon::start(free_address());
    let told = metrics(&daemon)["profiler_bpf_memory_bytes"];
    let mut bytes = 0.0;
    for kind in ["map", "prog"] {
        let output = run(Command::new("bpftool").args([kind, "show", "--json"]));
        let objects: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("bpftool's output");
        let held = held(daemon.pid(), kind);
        assert!(!held.is_empty(), "{kind}");
        let objects = objects.as_array().expect("objects").iter();
        let own =
            objects.filter(|object| object["id"].as_u64().is_some_and(|id| held.contains(&id)));
        bytes += own
            .filter_map(|object| object["bytes_memlock"].as_f64())
            .sum::<f64>();
    }
    // Tables are loaded all the time.
    let difference = (told - bytes).abs();
    assert!(
        bytes > 0.0 && difference <= 0.25 * bytes,
        "{told} bytes, bpftool says {bytes}"
    );
    daemon.stop();
}

#[test]
fn each_listener_has_its_paths() {
    let daemon = Daemon::start(free_address());
    for path in ["/metrics", "/healthz", "/readyz"] {
        let own = daemon.telemetry(path, "");
        assert_eq!(own.status, 200, "{path}: {}", own.head);
        assert_eq!(daemon.page(path).status, 200, "{path}");
    }
    for path in ["/", "/api/status", "/api/flamegraph", "/assets/page.js"] {
        assert_eq!(daemon.telemetry(path, "").status, 404, "{path}");
    }
    let plain = daemon.telemetry("/metrics", "");
    assert!(
        plain.head.contains("text/plain; version=0.0.4"),
        "{}",
        plain.head
    );
    daemon.stop();
}

/// Stops one thread of a process, as a hang of it would, until its input ends: where it waits in epoll_wait, epoll_pwait or
/// epoll_pwait2. Elsewhere it may hold what others need, the allocator for one.
const HOLD: &str = "
import ctypes, os, sys
thread = int(sys.argv[1])
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
CONTINUE, SEIZE, INTERRUPT = 7, 0x4206, 0x4207
WAITING = ('232', '281', '441')
def ask(request):
    if ptrace(request, thread, None, None) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
def waits():
    with open(f'/proc/{thread}/syscall') as file:
        return file.read().split()[0] in WAITING
ask(SEIZE)
while True:
    ask(INTERRUPT)
    os.waitpid(thread, 0x40000000)
    if waits():
        break
    ask(CONTINUE)
sys.stdin.read()
";

/// The thread of a process with this name.
fn thread(pid: u32, name: &str) -> String {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let mut threads = threads.flatten().filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    });
    let thread = threads.next().expect(name);
    thread.file_name().into_string().expect("a number")
}

#[test]
fn an_agent_whose_collector_hangs_says_so() {
    let daemon = Daemon::start(free_address());
    until("a window is closed", || !daemon.windows().is_empty());
    assert_eq!(daemon.telemetry("/healthz", "").body, b"healthy\n");
    let mut hold = Command::new("/usr/bin/python3")
        .args(["-c", HOLD, &thread(daemon.pid(), "collector")])
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    until("the hang is noticed", || {
        daemon.telemetry("/healthz", "").status == 503
    });
    let said = daemon.telemetry("/healthz", "").body;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("the rings were not read for "), "{said}");
    assert_eq!(metrics(&daemon)["profiler_healthy"], 0.0);
    assert_eq!(daemon.telemetry("/readyz", "").status, 200);
    drop(hold.stdin.take());
    assert!(hold.wait().expect("python3 ends").success());
    until("it goes on", || {
        daemon.telemetry("/healthz", "").status == 200
    });
    daemon.stop();
}
