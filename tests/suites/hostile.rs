//! Programs of an unprivileged user whose files lie or do not answer, beside an honest one: the honest one's windows stay
//! complete and named, the agent stays small, and ends when it is told to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::agent::until;
use profiler_tests::build::{c, c_library};
use profiler_tests::claim::{
    C_ROOTS, has_chain, has_chain_in, has_samples, names_all, reaches_root,
};
use profiler_tests::daemon::Daemon;
use profiler_tests::fuse::{Fuse, padded};
use profiler_tests::lies;
use profiler_tests::pprof::{Profile, Sample};
use profiler_tests::workload::Workload;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// What lies may cost in memory.
const GROWTH: u64 = 32 * MIB;

/// The program, run by nobody.
pub(crate) fn unprivileged(program: &Path) -> Workload {
    Workload::start(&mut by_nobody(program))
}

fn by_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program);
    command
}

/// A number of /proc/PID/status, in bytes.
pub(crate) fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.expect("the kernel says it").trim_start_matches(':');
    let kib = kib.trim().strip_suffix(" kB").expect("in kB");
    kib.parse::<u64>().expect("a number") << 10
}

/// Waits for so many more windows with samples.
pub(crate) fn windows(daemon: &Daemon, more: usize) {
    let count = |daemon: &Daemon| daemon.windows().values().filter(|n| **n > 0).count();
    let before = count(daemon);
    until("windows are stored", || count(daemon) >= before + more);
}

/// What the store has of a program since `from`.
pub(crate) fn stored(daemon: &Daemon, from: u64, comm: &str) -> Profile {
    everything(daemon, from).only(|sample| sample.label("comm") == comm)
}

/// What the store has since `from`.
fn everything(daemon: &Daemon, from: u64) -> Profile {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("stored.pb.gz");
    daemon.save(&format!("from={from}"), &file);
    Profile::read(&file)
}

/// The honest program is whole and named in every window since `from`.
fn is_honest(daemon: &Daemon, from: u64) {
    let honest = stored(daemon, from, "split");
    has_samples(&honest, 500);
    reaches_root(&honest, C_ROOTS);
    has_chain(&honest, &["main", "run_cycle"]);
    names_all(&honest, "split");
}

/// Waits until the honest program has its unwind table; when the window began in which it had.
fn settled(daemon: &Daemon) -> u64 {
    let whole = |sample: &Sample| {
        let root = sample.functions().first().copied();
        root.is_some_and(|root| C_ROOTS.contains(&root))
    };
    until("the honest program's stacks are whole", || {
        windows(daemon, 1);
        let window = stored(daemon, last(daemon), "split");
        window.count() > 0 && window.share(whole) > 0.999
    });
    last(daemon)
}

/// When the last stored window began.
pub(crate) fn last(daemon: &Daemon) -> u64 {
    daemon.windows().into_keys().next_back().expect("a window")
}

#[test]
fn files_that_lie_cost_no_more_than_their_budget_and_others_nothing() {
    let directory = TempDir::new().expect("a temporary directory");
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), everybody).expect("it is ours");
    let programs = lies::programs(&c("split"), "burn_half", directory.path());
    let all = run_beside_an_honest_program(&programs);
    for program in &programs {
        let comm = program.file_name().expect("a name").to_string_lossy();
        let lying = all.clone().only(|sample| sample.label("comm") == comm);
        has_samples(&lying, 100);
        // It starts without an unwind table.
        has_chain_in(&lying, &["main", "run_cycle"], 0.9);
    }
}

/// Runs each of the programs for some windows: an honest one beside them is whole and named all the time, and the agent's memory
/// grows by little. Everything that was sampled.
fn run_beside_an_honest_program(programs: &[PathBuf]) -> Profile {
    let honest = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with("");
    let (from, before) = (settled(&daemon), memory(daemon.pid(), "VmRSS"));
    // A few at a time: the honest program has its share of the CPUs.
    for some in programs.chunks(3) {
        let running: Vec<Workload> = some.iter().map(|program| unprivileged(program)).collect();
        windows(&daemon, 4);
        drop(running);
    }
    windows(&daemon, 2);
    let peak = memory(daemon.pid(), "VmHWM");
    println!(
        "{} MiB resident before, {} MiB at most",
        before / MIB,
        peak / MIB
    );
    is_honest(&daemon, from);
    let all = everything(&daemon, from);
    assert!(
        peak <= before + GROWTH,
        "{} MiB resident before, {} MiB at most",
        before / MIB,
        peak / MIB
    );
    drop(honest);
    daemon.stop();
    all
}

#[test]
fn call_frame_information_that_lies_costs_no_more_than_its_budget_and_others_nothing() {
    let directory = TempDir::new().expect("a temporary directory");
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), everybody).expect("it is ours");
    let programs = lies::call_frames::programs(directory.path());
    let all = run_beside_an_honest_program(&programs);
    for program in &programs {
        let comm = program.file_name().expect("a name").to_string_lossy();
        has_samples(
            &all.clone().only(|sample| sample.label("comm") == comm),
            100,
        );
    }
}

#[test]
fn a_file_system_that_does_not_answer_holds_up_nobody() {
    let directory = TempDir::new().expect("a temporary directory");
    let program = c("split");
    let file_system = Fuse::mount(padded(&program, directory.path()));
    let hung = unprivileged(&file_system.program());
    let honest = Workload::start(&mut Command::new(&program));
    file_system.hang();
    let daemon = Daemon::with("");
    let from = settled(&daemon);
    windows(&daemon, 6);
    is_honest(&daemon, from);
    has_samples(&stored(&daemon, from, "program"), 100);
    let metrics = daemon.telemetry("/metrics", "");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("file_unanswered"), "{metrics}");
    daemon.stop();
    // Its requests fail then: the program can end.
    drop(file_system);
    drop((hung, honest));
}

/// Where the memory of processes does not answer who looks for what they publish and for their thread contexts, others have
/// their names and windows go on. (Of an environment, the kernel shows no page of a file.)
#[test]
fn memory_that_does_not_answer_holds_up_nobody() {
    let directory = TempDir::new().expect("a temporary directory");
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), everybody).expect("it is ours");
    let copy = |file: PathBuf| {
        let copied = directory.path().join(file.file_name().expect("a name"));
        fs::copy(&file, &copied).expect("there is room");
        copied
    };
    let program = copy(c("unanswering"));
    let library = c_library(
        "thread_context_library",
        "unanswering-context",
        &["-Wl,-z,relro,-z,now"],
    );
    let library = copy(library);
    let honest = Workload::start(&mut Command::new(c("split")));
    let daemon = Daemon::with("");
    let from = settled(&daemon);
    let file_system = Fuse::mount(vec![1; 8 << 20]);
    // From then on the kernel knows all of the file but its content.
    drop(fs::File::open(file_system.program()).expect("it answers"));
    file_system.hang();
    let unanswering: Vec<Workload> = ["context", "variable"]
        .into_iter()
        .map(|what| {
            let mut command = by_nobody(&program);
            command.arg(what).arg(file_system.program()).arg(&library);
            Workload::start(&mut command)
        })
        .collect();
    windows(&daemon, 6);
    is_honest(&daemon, from);
    let mut command = Command::new(c("split"));
    command.env("OTEL_SERVICE_NAME", "late");
    let late = Workload::start(&mut command);
    until("who comes later is called by its name", || {
        let answer = daemon.ask("/api/services");
        let services = answer["services"].as_array().expect("a list");
        services.iter().any(|service| service["name"] == "late")
    });
    drop(late);
    has_samples(&stored(&daemon, from, "unanswering"), 300);
    until("each of them is counted", || {
        let metrics = daemon.telemetry("/metrics", "");
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let counted = metrics.lines().find_map(|line| {
            let (name, count) = line.rsplit_once(' ')?;
            let is_it = name.contains("\"file_unanswered\"");
            is_it.then(|| count.parse::<f64>().expect("a number"))
        });
        counted.is_some_and(|counted| counted >= 2.0)
    });
    daemon.stop();
    drop(file_system);
    drop((unanswering, honest));
}
