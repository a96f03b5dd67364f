//! Time off CPU on the running machine: what the programs say of threads whose time is known. Needs root.
//!
//! Each test selects this process alone, and looks at the threads that it started itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "modules of a test program are its own")]

mod recorder;
mod stacks;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use profiler_agent::collect::off_cpu::Forced;
use profiler_agent::collect::{Kernel, LoadOptions, OffCpu, Selection};
use profiler_agent::profile::{BootTime, ProfileKind, SamplePeriod};
use profiler_common::layout::Counter;
use recorder::{
    FORCED, MILLISECOND, Recorder, THRESHOLD, Truth, WAYS, alone, boot_now, cpu_now, measure, nap,
    on_thread, tid,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[test]
fn sleeps_are_as_long_as_they_were() {
    let _alone = alone();
    for way in WAYS {
        for forced in FORCED {
            let recorder = Recorder::start_with(OffCpu::default(), way, forced);
            let sleeps = [10, 100].map(Duration::from_millis);
            let threads = sleeps.map(|sleep| on_thread(move || nap(sleep)));
            let truths = threads.map(|thread| thread.join().unwrap());
            let samples = recorder.stop();
            for (truth, sleep) in truths.iter().zip(sleeps) {
                truth.holds(&samples, sleep);
                let longest = truth
                    .own(&samples)
                    .max_by_key(|sample| sample.value)
                    .unwrap();
                // Asleep, not waiting for a CPU, but for how long it took to get one.
                assert!(longest.runnable < longest.value, "{longest:?}");
            }
        }
    }
}

/// Pairs of threads that begin together: one waits for what the other one does after a while.
#[test]
fn waiting_for_other_threads_is_as_long_as_it_was() {
    let _alone = alone();
    const WHILE: Duration = Duration::from_millis(50);
    let recorder = Recorder::start();
    let together = || {
        let barrier = Arc::new(Barrier::new(2));
        (barrier.clone(), barrier)
    };
    let mut truths = Vec::new();
    // A mutex that the other thread holds.
    let mutex = Arc::new(Mutex::new(()));
    let held = mutex.clone();
    let (first, second) = together();
    let holder = on_thread(move || {
        let guard = held.lock().unwrap();
        first.wait();
        nap(WHILE);
        drop(guard);
    });
    let waiter = on_thread(move || {
        second.wait();
        drop(mutex.lock().unwrap());
    });
    truths.extend([holder, waiter].map(|thread| thread.join().unwrap()));
    // A pipe.
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let (first, second) = together();
    let writing = on_thread(move || {
        first.wait();
        nap(WHILE);
        writer.write_all(b"x").unwrap();
    });
    let reading = on_thread(move || {
        second.wait();
        reader.read_exact(&mut [0; 1]).unwrap();
    });
    truths.extend([reading, writing].map(|thread| thread.join().unwrap()));
    // A condition (a futex).
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    let (first, second) = together();
    let setter = on_thread(move || {
        first.wait();
        nap(WHILE);
        *other.0.lock().unwrap() = true;
        other.1.notify_all();
    });
    let waiter = on_thread(move || {
        second.wait();
        let mut is_set = pair.0.lock().unwrap();
        while !*is_set {
            is_set = pair.1.wait(is_set).unwrap();
        }
    });
    truths.extend([waiter, setter].map(|thread| thread.join().unwrap()));
    let samples = recorder.stop();
    for truth in truths {
        truth.holds(&samples, WHILE);
    }
}

/// Two recorders see the same thread: one records each stay, the other one samples them.
#[test]
fn many_short_sleeps_come_to_their_sum() {
    let _alone = alone();
    const NAP: Duration = Duration::from_micros(50);
    for forced in FORCED {
        let every = OffCpu {
            threshold: Duration::ZERO,
            ..OffCpu::default()
        };
        let mut whole = Recorder::start_with(every, None, Forced::default());
        let mut sampled = Recorder::start_with(OffCpu::default(), None, forced);
        let mut truths = Vec::new();
        for _ in 0..10 {
            let thread = on_thread(|| {
                for _ in 0..300 {
                    nap(NAP);
                }
            });
            truths.push(thread.join().unwrap());
            // Rings hold less than all records.
            whole.read();
            sampled.read();
        }
        let (sampled, whole) = (sampled.stop(), whole.stop());
        let (mut expected, mut value) = (0, 0);
        for truth in &truths {
            truth.holds(&whole, 300 * NAP);
            expected += truth.sums(&whole).0;
            value += truth.sums(&sampled).0;
        }
        // The second one is told of each switch a moment later.
        let slack = expected / 50 + THRESHOLD.as_nanos() as u64 * truths.len() as u64;
        assert!(
            value.abs_diff(expected) <= slack,
            "{value} ns of {expected}"
        );
        let is_own = |tid| truths.iter().any(|truth| truth.tid == tid);
        let own = sampled.iter().filter(|sample| is_own(sample.tid));
        let short = own.filter(|sample| sample.value == MILLISECOND).count();
        assert!(short > 10, "{short} samples stand for short sleeps");
    }
}

/// With a probability samples are fewer, and their sum varies.
#[test]
fn what_is_kept_stands_for_what_is_not() {
    let _alone = alone();
    let off_cpu = OffCpu {
        probability: 0.25,
        ..OffCpu::default()
    };
    let recorder = Recorder::start_with(off_cpu, None, Forced::default());
    let truth = on_thread(|| {
        for _ in 0..400 {
            nap(Duration::from_millis(1));
        }
    });
    let truth = truth.join().unwrap();
    let samples = recorder.stop();
    let own: Vec<_> = samples
        .iter()
        .filter(|sample| sample.tid == truth.tid)
        .collect();
    // Five standard deviations of 400 draws.
    assert!((57..=143).contains(&own.len()), "{}", own.len());
    assert!(own.iter().all(|sample| sample.value >= 4 * MILLISECOND));
}

fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).unwrap();
}

fn a_cpu() -> usize {
    let allowed = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU)
        .find(|cpu| allowed.is_set(*cpu))
        .unwrap()
}

/// Two threads that want one CPU: what one is off it, it waits for it.
#[test]
fn waiting_for_a_cpu_is_told_apart() {
    let _alone = alone();
    for forced in FORCED {
        let recorder = Recorder::start_with(OffCpu::default(), None, forced);
        let begin = Arc::new(Barrier::new(2));
        let cpu = a_cpu();
        let threads = [(); 2].map(|()| {
            let begin = begin.clone();
            std::thread::spawn(move || {
                pin(cpu);
                begin.wait();
                measure(|| {
                    let start = cpu_now();
                    while cpu_now() - start < 150 * MILLISECOND {
                        std::hint::spin_loop();
                    }
                })
            })
        });
        let truths = threads.map(|thread| thread.join().unwrap());
        let samples = recorder.stop();
        // The one that ended first had the other one beside it all the time.
        let truth = truths.into_iter().max_by_key(Truth::off).unwrap();
        assert!(truth.off() > 50 * MILLISECOND, "{truths:?}");
        let (value, runnable) = truth.sums(&samples);
        assert!(
            value > truth.off() / 10 * 9 && value <= truth.wall,
            "{value} of {truth:?}"
        );
        let spun = truth
            .own(&samples)
            .filter(|sample| sample.value == sample.runnable);
        let waited: u64 = spun.map(|sample| sample.value).sum();
        assert!(
            waited > truth.off() / 10 * 9 && runnable >= waited,
            "{waited} and {runnable} of {value} ns, {truth:?}"
        );
    }
}

/// Thread ids and tasks are used again: a new thread has nothing of the one before.
#[test]
fn a_new_thread_has_nothing_of_an_old_one() {
    let _alone = alone();
    for forced in FORCED {
        let off_cpu = OffCpu {
            threshold: Duration::ZERO,
            ..OffCpu::default()
        };
        let mut recorder = Recorder::start_with(off_cpu, None, forced);
        let mut lives: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for _ in 0..300 {
            let born = boot_now();
            let thread = std::thread::spawn(|| {
                nap(Duration::from_micros(20));
                tid()
            });
            let tid = thread.join().unwrap();
            lives.entry(tid).or_default().push((born, boot_now()));
            recorder.read();
        }
        let samples = recorder.stop();
        let mut seen = 0;
        for sample in &samples {
            let Some(lives) = lives.get(&sample.tid) else {
                continue;
            };
            let BootTime(ended) = sample.time;
            // A thread's last way through the scheduler may be behind its join.
            let life = lives.iter().rfind(|(born, _)| *born <= ended).unwrap();
            assert!(sample.value <= ended - life.0, "{sample:?} of {life:?}");
            seen += 1;
        }
        assert!(seen > 200, "{seen} samples of threads that came and went");
    }
}

/// Waits until the kernel says that a thread is asleep (`proc(5)`: its state follows its name, here one that ends in `name`).
fn until_asleep(stat: &str, name: &str) {
    let state = format!("{name}) S ");
    while !std::fs::read_to_string(stat).is_ok_and(|stat| stat.contains(&state)) {
        std::thread::yield_now();
    }
}

/// The kernel part of its last stack is there still.
#[test]
fn who_is_killed_asleep_was_off_cpu_until_then() {
    let _alone = alone();
    let recorder = Recorder::start();
    let begin = boot_now();
    let mut child = std::process::Command::new("sh")
        .args(["-c", "echo up; exec sleep 1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 3];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    let pid = child.id();
    until_asleep(&format!("/proc/{pid}/stat"), "(sleep");
    let asleep = boot_now();
    nap(Duration::from_millis(50));
    let killed = boot_now();
    child.kill().unwrap();
    child.wait().unwrap();
    let end = boot_now();
    let samples = recorder.stop();
    let last = samples
        .iter()
        .filter(|sample| sample.pid == pid)
        .max_by_key(|sample| sample.value)
        .expect("a sample of it");
    assert!(
        last.value >= killed - asleep && last.value <= end - begin,
        "{last:?}"
    );
    assert!(!last.kernel.is_empty());
}

/// What was noted before a stop counts for nothing after the next start: the thread may have run in between.
#[test]
fn what_was_noted_before_a_start_counts_for_nothing() {
    let _alone = alone();
    let mut recorder = Recorder::start();
    let (asks, asked) = std::sync::mpsc::channel::<()>();
    let (says, said) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        says.send(tid()).unwrap();
        asked.recv().unwrap();
    });
    let tid = said.recv().unwrap();
    // It waits once the kernel says so.
    until_asleep(&format!("/proc/self/task/{tid}/stat"), "");
    recorder.kernel.stop_off_cpu();
    let restarted = boot_now();
    recorder.kernel.start_off_cpu().unwrap();
    nap(Duration::from_millis(5));
    asks.send(()).unwrap();
    thread.join().unwrap();
    let samples = recorder.stop();
    let after = |tid| {
        let own = samples.iter().filter(move |sample| sample.tid == tid);
        own.filter(|sample| sample.time.0 > restarted)
    };
    for sample in after(tid) {
        assert!(sample.time.0 - sample.value >= restarted, "{sample:?}");
    }
    assert!(after(self::tid()).count() > 0, "the second start records");
}

/// A sample on CPU may interrupt one off CPU: each is whole.
#[test]
fn samples_of_both_kinds_do_not_disturb_each_other() {
    let _alone = alone();
    let options = LoadOptions {
        period: SamplePeriod::from_hertz(1000),
        selection: Selection::Processes { children: true },
        table_budget: 8 << 20,
        way: None,
        off_cpu: Some(OffCpu {
            threshold: Duration::ZERO,
            ..OffCpu::default()
        }),
    };
    let (mut kernel, _) = Kernel::load(&options).unwrap();
    kernel.select(std::process::id()).unwrap();
    kernel.follow_cpus().unwrap();
    kernel.start_off_cpu().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let (mut back, mut forth) = std::io::pipe().unwrap();
    let stopped = stop.clone();
    let first = std::thread::spawn(move || {
        let mut turns = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            writer.write_all(b"x").unwrap();
            back.read_exact(&mut [0; 1]).unwrap();
            turns += 1;
        }
        turns
    });
    let second = std::thread::spawn(move || {
        while reader.read_exact(&mut [0; 1]).is_ok() {
            if forth.write_all(b"x").is_err() {
                break;
            }
        }
    });
    let mut kinds: BTreeMap<ProfileKind, u64> = BTreeMap::new();
    let begin = boot_now();
    let mut malformed = 0;
    while boot_now() - begin < 500 * MILLISECOND {
        // Where the CPU is slow, records come as fast as they are read.
        let drained = kernel.rings.drain(1000, |sample| {
            *kinds.entry(sample.kind).or_default() += 1;
            let is_whole = match sample.kind {
                ProfileKind::OnCpu => sample.value == 1_000_000 && sample.runnable == 0,
                _ => sample.value < 10_000 * MILLISECOND && !sample.kernel.is_empty(),
            };
            assert!(is_whole, "{sample:?}");
        });
        malformed += drained.malformed;
    }
    stop.store(true, Ordering::Relaxed);
    let turns = first.join().unwrap();
    second.join().unwrap();
    kernel.stop_off_cpu();
    kernel.sampler.stop();
    let drained = kernel.rings.drain(usize::MAX, |sample| {
        *kinds.entry(sample.kind).or_default() += 1;
    });
    let totals = kernel.counters.totals().unwrap();
    println!("{turns} turns, {kinds:?}, {totals:?}");
    assert_eq!(malformed + drained.malformed, 0);
    assert_eq!(
        totals[Counter::Delivered as usize],
        kinds.values().sum::<u64>()
    );
    assert!(kinds[&ProfileKind::OffCpu] > 1000 && kinds[&ProfileKind::OnCpu] > 100);
}
