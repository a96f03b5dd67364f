//! Minutes on a machine that never rests: what the agent keeps stays as it was, and a program that starts at the end is as
//! whole as one at the beginning. `cargo xtask soak --minutes N` gives it more of them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use profiler_tests::agent::until;
use profiler_tests::build::c;
use profiler_tests::claim::{C_ROOTS, has_chain, has_samples, names_all, reaches_root};
use profiler_tests::daemon::{Daemon, free_address};
use profiler_tests::lies;
use profiler_tests::receiver::Receiver;
use profiler_tests::workload::Workload;
use tempfile::TempDir;

use crate::abuse::balanced;
use crate::hostile::{last, memory, stored, unprivileged, windows};
use crate::shared_objects::reloading;

const MIB: u64 = 1 << 20;
/// What more the agent may have at the end than when it had seen everything once.
const MORE: Held = Held {
    resident: 32 * MIB,
    descriptors: 8,
    threads: 8,
    bpf: 8 * MIB,
};

/// What the agent holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident: u64,
    descriptors: u64,
    threads: u64,
    bpf: u64,
}

impl Held {
    fn of(daemon: &Daemon) -> Self {
        let entries = |what: &str| {
            let directory = fs::read_dir(format!("/proc/{}/{what}", daemon.pid()));
            directory.expect("it runs").flatten()
        };
        // Executables are kept open for a minute after their last use, whosever they are.
        let is_file = |entry: &fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.is_absolute())
        };
        let metrics = daemon.metrics().expect("an answer");
        Self {
            resident: memory(daemon.pid(), "VmRSS"),
            descriptors: entries("fd").filter(|entry| !is_file(entry)).count() as u64,
            threads: entries("task").count() as u64,
            bpf: metrics["profiler_bpf_memory_bytes"] as u64,
        }
    }

    /// No more than `before`, but for what may be more.
    fn assert_flat(self, before: Self) {
        for (what, before, now, more) in [
            (
                "bytes resident",
                before.resident,
                self.resident,
                MORE.resident,
            ),
            (
                "descriptors",
                before.descriptors,
                self.descriptors,
                MORE.descriptors,
            ),
            ("threads", before.threads, self.threads, MORE.threads),
            ("bytes in BPF maps", before.bpf, self.bpf, MORE.bpf),
        ] {
            println!("{what}: {before}, then {now}");
            assert!(now <= before + more, "{what}: {before}, then {now}");
        }
    }
}

/// A CPU that is taken away and given back, online again when this is gone; none where none can be.
struct Cpu(PathBuf);

impl Cpu {
    fn that_can_go() -> Option<Self> {
        let file = Path::new("/sys/devices/system/cpu/cpu1/online");
        let can = fs::read_to_string(file).is_ok_and(|online| online.trim() == "1");
        if !can {
            println!("no CPU of this machine can be taken away: not tried");
        }
        can.then(|| Self(file.into()))
    }

    fn set(&self, online: bool) {
        fs::write(&self.0, if online { "1" } else { "0" }).expect("a CPU that comes and goes");
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.set(true);
    }
}

/// Waits for the end of a window, and for the agent where it starts anew.
fn a_window(daemon: &Daemon) {
    let count = || Some(daemon.metrics()?["profiler_windows_total"]);
    let mut before = None;
    until("a window ends", || {
        let now = count();
        before = before.or(now);
        now.is_some() && now != before
    });
}

/// How long it goes on.
fn length() -> Duration {
    let minutes = std::env::var("PROFILER_SOAK_MINUTES").map_or(2.0, |minutes| {
        minutes.parse().expect("PROFILER_SOAK_MINUTES is a number")
    });
    Duration::from_secs_f64(60.0 * minutes)
}

#[test]
fn a_machine_that_never_rests_leaves_the_agent_as_it_was() {
    let directory = TempDir::new().expect("a temporary directory");
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), everybody).expect("it is ours");
    let split = c("split");
    let lying = lies::programs(&split, "burn_half", directory.path());
    let (address, receiver) = (free_address(), Receiver::default());
    let good = format!(
        "sampling: {{frequency: 99, window: 1s, off_cpu: {{enabled: true}}}}\nexporters: {{otlp_grpc: {{endpoint: 'http://{address}'}}}}\n"
    );
    let other = good.replace(
        "{otlp_grpc",
        "{file: {directory: DIRECTORY/files}, otlp_grpc",
    );
    // What this changes starts all of the agent anew.
    let daemon = Daemon::with(&good.replace("99", "97"));
    let unrest = Workload::start(&mut Command::new(c("unrest")));
    let cpu = Cpu::that_can_go();
    let (start, length) = (Instant::now(), length());
    // One after the other, each second: the receiver is away for the first half.
    let (mut turn, mut first, mut is_there) = (0_usize, None, false);
    while start.elapsed() < length {
        let hostile = unprivileged(&lying[turn % lying.len()]);
        let libraries = (turn % 2 == 0).then(reloading);
        if let Some(cpu) = &cpu {
            cpu.set(turn % 6 != 0);
        }
        match turn % 8 {
            2 => daemon.configure(&other),
            4 => daemon.configure("sampling: {frequency: 0}\n"),
            6 => daemon.configure(&good),
            _ => {}
        }
        a_window(&daemon);
        drop((hostile, libraries));
        turn += 1;
        if !is_there && start.elapsed() > length / 2 {
            receiver.serve(TcpListener::bind(address).expect("it was free"));
            is_there = true;
        }
        if first.is_none() && turn > lying.len() && start.elapsed() > length / 3 {
            first = Some(Held::of(&daemon));
        }
    }
    drop(cpu);
    daemon.configure(&good);
    let truth = unrest.stop();
    println!("{turn} turns, {} children", truth.numbers["started"]);
    let first = first.expect("long enough to have seen every lie once");

    // As new. The last change may have started it anew.
    until("the last file is in effect", || {
        let metrics = daemon.metrics();
        metrics.is_some_and(|metrics| metrics["profiler_config_in_effect"] == 1.0)
    });
    a_window(&daemon);
    a_window(&daemon);
    let program = Workload::start(&mut Command::new(&split));
    windows(&daemon, 2);
    let from = last(&daemon);
    windows(&daemon, 6);
    let new = stored(&daemon, from, "split");
    has_samples(&new, 300);
    reaches_root(&new, C_ROOTS);
    has_chain(&new, &["main", "run_cycle"]);
    names_all(&new, "split");
    program.stop();
    until("the receiver has what waited", || {
        let metrics = daemon.metrics().expect("an answer");
        balanced(&metrics, "otlp_grpc") > 0.0
            && metrics["profiler_delivery_waiting_samples{destination=\"otlp_grpc\"}"] < 5_000.0
    });
    let metrics = daemon.metrics().expect("an answer");
    assert_eq!(metrics["profiler_healthy"], 1.0, "{metrics:#?}");
    for full in [
        "process_table_full",
        "selection_full",
        "mapping_table_full",
        "map_failed",
    ] {
        let name = format!("profiler_degradations_total{{cause=\"{full}\"}}");
        assert_eq!(metrics.get(&name).copied().unwrap_or(0.0), 0.0, "{full}");
    }
    Held::of(&daemon).assert_flat(first);
    daemon.stop();
}
