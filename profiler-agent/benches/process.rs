//! What following processes costs: CPU time of the agent's side per exec on the machine, of a scan,
//! and per located sample. `cargo bench -p profiler-agent --bench process`; needs the privileges
//! that the agent needs.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use profiler_agent::collect::sideband::Sideband;
use profiler_agent::process::{Limits, ProcFs, ProcessTable};
use profiler_agent::profile::{
    BootTime, ProcessEvent, ProcessEventKind, ProfileKind, RawSample, ThreadName,
};
use profiler_common::layout::{RawFrame, SampleFlags};
use profiler_common::unwind::Outcome;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<()> {
    let cpus = profiler_agent::collect::cpus::online()?;
    let mut sideband = Sideband::open(&cpus)?;
    let mut table = ProcessTable::new(ProcFs::new(Limits::default()));

    let processor = processor_time();
    table.scan(now());
    let spent = processor_time() - processor;
    println!("scan: {} processes, {spent:?} of CPU", table.len());
    let processor = processor_time();
    table.scan(now());
    let spent = processor_time() - processor;
    println!("scan again: {spent:?} of CPU");

    for pause in [Duration::ZERO, Duration::from_millis(2)] {
        execs(&mut sideband, &mut table, pause)?;
    }
    decode_and_apply(&mut sideband, &mut table)?;
    locate(&mut table)
}

/// Follows 2,000 runs of `true`, waiting `pause` between two drains.
fn execs(sideband: &mut Sideband, table: &mut ProcessTable<ProcFs>, pause: Duration) -> Result<()> {
    let mut events = Vec::new();
    sideband.drain(&mut events);
    events.drain(..).for_each(|event| table.apply(&event));
    let mut spawner = Command::new("bash")
        .args(["-c", "for ((i = 0; i < 2000; i++)); do /bin/true; done"])
        .spawn()?;
    let (processor, mut execs, mut applied, mut drains) = (processor_time(), 0_u32, 0_u64, 0_u64);
    let mut changed = 0;
    while spawner.try_wait()?.is_none() {
        {
            let mut fds: Vec<PollFd<'_>> = sideband
                .fds()
                .map(|(_, fd)| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            poll(&mut fds, Some(&timeout))?;
        }
        sideband.drain(&mut events);
        drains += 1;
        for event in events.drain(..) {
            applied += 1;
            execs += u32::from(matches!(event.kind, ProcessEventKind::Exec { .. }));
            table.apply(&event);
        }
        changed += table.take_changed().len();
        std::thread::sleep(pause);
    }
    let spent = processor_time() - processor;
    println!(
        "execs (pause {pause:?}): {execs}, {:.1} us of CPU each; {applied} events, {drains} drains, \
         {changed} changes, losses {:?}",
        spent.as_secs_f64() * 1e6 / f64::from(execs),
        sideband.take_losses(),
    );
    Ok(())
}

/// The pure part alone: the events of 200 execs, applied.
fn decode_and_apply(sideband: &mut Sideband, table: &mut ProcessTable<ProcFs>) -> Result<()> {
    let mut events: Vec<ProcessEvent> = Vec::new();
    sideband.drain(&mut events);
    events.clear();
    Command::new("bash")
        .args(["-c", "for ((i = 0; i < 50; i++)); do /bin/true; done"])
        .status()?;
    let start = Instant::now();
    sideband.drain(&mut events);
    let drained = start.elapsed();
    let start = Instant::now();
    events.iter().for_each(|event| table.apply(event));
    let applied = start.elapsed();
    let count = events.len() as f64;
    println!(
        "events: {count}, drained and decoded in {:.2} us each, applied in {:.2} us each",
        drained.as_secs_f64() * 1e6 / count,
        applied.as_secs_f64() * 1e6 / count,
    );
    Ok(())
}

/// Stacks of 30 frames through all files of the process with the most mappings.
fn locate(table: &mut ProcessTable<ProcFs>) -> Result<()> {
    let pid = table
        .pids()
        .max_by_key(|pid| table.mappings(*pid).count())
        .context("no process")?;
    let starts: Vec<u64> = table
        .mappings(pid)
        .map(|mapping| mapping.range.start.0)
        .collect();
    let mut sample = RawSample {
        time: now(),
        kind: ProfileKind::OnCpu,
        value: 0,
        runnable: 0,
        image: BootTime(0),
        cgroup: 1,
        pid,
        tid: pid,
        cpu: 0,
        thread_name: ThreadName::default(),
        outcome: Outcome::Root,
        flags: SampleFlags(0),
        kernel: Vec::new(),
        user: Vec::new(),
        context: None,
        snapshot: None,
    };
    for frames in [30, 100] {
        // As in real stacks: runs of frames in one file, then another file.
        sample.user = (0..frames)
            .map(|frame| RawFrame(starts[(frame / 4 * 7) % starts.len()] + frame as u64 * 16 + 8))
            .collect();
        let (runs, start) = (300_000, Instant::now());
        let mut kept = 0;
        for _ in 0..runs {
            kept += table
                .locate(&sample)
                .map_err(|cause| anyhow::anyhow!("{}", cause.name()))?
                .frames
                .len();
        }
        anyhow::ensure!(kept == runs * frames, "frames were lost");
        println!(
            "locate: {:.2} us a sample of {frames} frames in a process of {} mappings",
            start.elapsed().as_secs_f64() * 1e6 / runs as f64,
            starts.len(),
        );
    }
    Ok(())
}

fn now() -> BootTime {
    let now = clock_gettime(ClockId::Boottime);
    BootTime(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// CPU time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
