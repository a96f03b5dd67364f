//! Loads the committed eBPF object into the running kernel and takes samples. Needs root.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use profiler_agent::collect::{Kernel, LoadOptions, OffCpu, ProgramCost, Selection, Way};
use profiler_agent::profile::{BootTime, RawSample, SamplePeriod};
use profiler_common::layout::SampleFlags;

/// Far below a third of what the verifier is willing to look at (`BPF_COMPLEXITY_LIMIT_INSNS`, a million): room for kernels
/// that count otherwise.
const MOST_VERIFIED_INSTRUCTIONS: u32 = 60_000;

fn options(selection: Selection, way: Way) -> LoadOptions {
    LoadOptions {
        period: SamplePeriod::from_hertz(999),
        selection,
        table_budget: 8 << 20,
        way: Some(way),
        off_cpu: Some(OffCpu::default()),
    }
}

/// The committed object, or the one that `cargo xtask build-ebpf --check` has just built with
/// another toolchain.
fn load(selection: Selection, way: Way) -> (Kernel, Vec<ProgramCost>) {
    let options = options(selection, way);
    let loaded = match std::env::var_os("PROFILER_EBPF_OBJECT") {
        Some(path) => Kernel::load_object(
            &std::fs::read(path).expect("the object is readable"),
            &options,
        ),
        None => Kernel::load(&options),
    };
    loaded.expect("the programs load")
}

/// Burns this much CPU time, however busy the machine is.
fn burn(time: Duration) -> u64 {
    let mut sum = 0u64;
    let start = thread_cpu();
    while thread_cpu() - start < time {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
    }
    sum
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
fn programs_load_within_their_budget_and_samples_arrive() {
    samples_arrive(Way::Helper);
}

#[test]
fn programs_for_every_kernel_load_within_their_budget_and_samples_arrive() {
    samples_arrive(Way::Bounded);
}

fn samples_arrive(way: Way) {
    let (mut kernel, costs) = load(Selection::All, way);
    assert_eq!(kernel.way(), way);
    for cost in &costs {
        println!(
            "{}: {:?} verified instructions, {:?}",
            cost.name, cost.verified_instructions, cost.load_time
        );
        assert!(
            cost.verified_instructions
                .is_none_or(|count| count < MOST_VERIFIED_INSTRUCTIONS)
        );
    }
    kernel.follow_cpus().expect("sampling starts");
    burn(Duration::from_millis(300));
    kernel.sampler.stop();
    let mut samples: Vec<RawSample> = Vec::new();
    let drained = kernel.rings.drain(100_000, |sample| samples.push(sample));
    assert_eq!(drained.malformed, 0);
    let own: Vec<&RawSample> = samples
        .iter()
        .filter(|sample| sample.pid == std::process::id())
        .collect();
    assert!(
        own.len() > 200,
        "{} samples of this busy process",
        own.len()
    );
    // A thread that ends, of another test, has none any more.
    let without: Vec<_> = own
        .iter()
        .filter(|sample| sample.user.is_empty() && !sample.flags.has(SampleFlags::EXITING))
        .collect();
    assert!(without.is_empty(), "without a user stack: {without:?}");
    let totals = kernel.counters.totals().expect("counters are readable");
    println!("counters: {totals:?}, cost {:?}", kernel.sample_cost());
    assert_eq!(
        totals[0],
        samples.len() as u64,
        "every delivered sample was read"
    );
}

#[test]
fn only_selected_processes_are_sampled() {
    let (mut kernel, _) = load(Selection::Processes { children: true }, Way::Bounded);
    kernel.select(std::process::id()).expect("selecting works");
    kernel.follow_cpus().expect("sampling starts");
    let child = std::process::Command::new("sh")
        .args(["-c", "i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done"])
        .spawn()
        .expect("sh runs");
    let child_pid = child.id();
    burn(Duration::from_millis(200));
    child.wait_with_output().expect("sh ends");
    kernel.sampler.stop();
    let mut pids = std::collections::BTreeSet::new();
    kernel.rings.drain(100_000, |sample| {
        pids.insert(sample.pid);
    });
    assert_eq!(pids, [std::process::id(), child_pid].into());
    assert!(kernel.is_selected(std::process::id()));
    // Whoever gets its pid next is somebody else. The kernel frees a task a moment after it was waited for.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while kernel.is_selected(child_pid) {
        assert!(
            std::time::Instant::now() < deadline,
            "the child stays selected"
        );
        std::thread::yield_now();
    }
}

/// Side-band records of an exec come before its end, at which the kernel side drops what it knew of the process. Where
/// the agent reads them in between, nothing that happens later makes it publish the process again.
#[test]
fn what_an_exec_drops_behind_its_publication_is_noticed() {
    let (mut kernel, _) = load(Selection::All, Way::Bounded);
    let mut child = Command::new("sh")
        .args(["-c", "echo up; read line; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let pid = child.id();
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut says = |wanted: &str| {
        let line = output.next().expect("a line").expect("a text");
        assert_eq!(line, wanted);
    };
    let publish = |kernel: &mut Kernel| {
        let now = now();
        kernel.publisher.publish(pid, now, std::iter::empty(), now);
    };
    // What an image says, it says behind the exec that started it.
    says("up");
    assert!(!kernel.publisher.is_emptied(pid), "it was never published");
    publish(&mut kernel);
    assert!(!kernel.publisher.is_emptied(pid));
    input.write_all(b"go\nback\n").expect("sh reads");
    says("back");
    assert!(kernel.publisher.is_emptied(pid));
    publish(&mut kernel);
    assert!(!kernel.publisher.is_emptied(pid));
    drop(input);
    child.wait().expect("cat ends");
}

fn now() -> BootTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    BootTime(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
