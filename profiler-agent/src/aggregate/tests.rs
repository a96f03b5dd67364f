//! The aggregator against a model that remembers every sample.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use profiler_common::layout::SampleFlags;
use profiler_common::unwind::Outcome;
use proptest::prelude::*;

use super::{Aggregator, Config, Limits};
use crate::profile::{
    BootTime, Degradation, Executable, ExecutableId, FileOffset, KernelAddress, Link, LocatedFrame,
    LocatedSample, LocationKey, Losses, Process, ProcessKey, ProfileKind, SampleContext,
    SampleKind, SampleLoss, SamplePeriod, ThreadName, VirtualAddress, Window,
};

fn process(pid: u32) -> Arc<Process> {
    Arc::new(Process {
        key: ProcessKey {
            pid,
            started: BootTime(u64::from(pid)),
        },
        parent: 1,
        comm: format!("comm{pid}").into(),
        executable: format!("/bin/program{pid}").into(),
        cgroup: "/".into(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    })
}

fn executable(id: u32) -> Arc<Executable> {
    Arc::new(Executable {
        id: ExecutableId(id),
        path: format!("/lib/lib{id}.so").into(),
        file: None,
        image: None,
        length: 0,
        build_id: None,
        htl_hash: std::sync::OnceLock::new(),
        segments: Box::default(),
        constants: Box::default(),
        root: None,
    })
}

/// A frame for a small number: every kind of location occurs.
fn frame(number: u16) -> LocatedFrame {
    let address = u64::from(number);
    let owner = process(u32::from(number % 5)).key;
    let (key, executable) = match number % 4 {
        0 => (LocationKey::Kernel(KernelAddress(address)), None),
        1 => {
            let executable = executable(u32::from(number % 3));
            (
                LocationKey::File(executable.id, FileOffset(address)),
                Some(executable),
            )
        }
        2 => (LocationKey::Anonymous(owner, VirtualAddress(address)), None),
        _ => (LocationKey::Unmapped(owner, VirtualAddress(address)), None),
    };
    LocatedFrame {
        key,
        executable,
        kernel_code: None,
    }
}

fn sample(time: u64, pid: u32, tid: u32, frames: &[u16]) -> LocatedSample {
    LocatedSample {
        kind: ProfileKind::OnCpu,
        value: 10_101_010,
        runnable: 0,
        time: BootTime(time),
        process: process(pid),
        tid,
        cpu: 0,
        thread_name: ThreadName(*b"thread\0\0\0\0\0\0\0\0\0\0"),
        outcome: Outcome::Root,
        flags: SampleFlags::default(),
        frames: frames.iter().map(|number| frame(*number)).collect(),
        context: None,
    }
}

fn aggregator(limits: Limits, start: u64) -> Aggregator {
    let config = Config {
        kind: SampleKind::on_cpu(SamplePeriod::from_hertz(99)),
        limits,
    };
    Aggregator::new(config, BootTime(start))
}

type Flat = BTreeMap<(u32, u32, Vec<String>, u64), u64>;

/// Every sample of a window as `(pid, tid, stack, time)`, counted; panics where the window's indices
/// or bounds are wrong.
fn flatten(window: &Window) -> Flat {
    let mut flat = Flat::new();
    for sample in &window.samples {
        assert!(!sample.occurrences.is_empty());
        let thread = &window.threads[sample.thread.0 as usize];
        let process = &window.processes[thread.process as usize];
        let stack: Vec<String> = window
            .stacks
            .get(sample.stack)
            .iter()
            .map(|index| format!("{:?}", window.location(*index)))
            .collect();
        for time in sample.occurrences.times() {
            assert!((window.start..window.end).contains(time));
            let key = (process.key.pid, thread.tid, stack.clone(), time.0);
            *flat.entry(key).or_default() += 1;
        }
    }
    let distinct: HashSet<_> = window.locations.iter().collect();
    assert_eq!(distinct.len(), window.locations.len());
    for key in &window.locations {
        if let LocationKey::File(id, _) = key {
            assert_eq!(window.executables[id].id, *id);
        }
    }
    let pairs: HashSet<_> = window.samples.iter().map(|s| (s.thread, s.stack)).collect();
    assert_eq!(pairs.len(), window.samples.len());
    let counted: u64 = window
        .outcomes
        .iter()
        .map(super::super::profile::window::OutcomeCounts::total)
        .sum();
    assert_eq!(counted, window.sample_count());
    flat
}

fn flat_key(sample: &LocatedSample, time: u64) -> (u32, u32, Vec<String>, u64) {
    let stack = sample.frames.iter().map(|f| format!("{:?}", f.key));
    (sample.process.key.pid, sample.tid, stack.collect(), time)
}

/// A window has room for so many contexts; a sample that finds none is kept without.
#[test]
fn contexts_are_part_of_a_sample_and_bounded() {
    let limits = Limits {
        contexts: 2,
        ..Limits::default()
    };
    let mut aggregator = aggregator(limits, 0);
    for (time, span) in [1, 2, 1, 3, 2].into_iter().enumerate() {
        let mut sample = sample(time as u64, 1, 1, &[1]);
        sample.context = Some(Arc::new(SampleContext {
            link: Some(Link {
                trace_id: [9; 16],
                span_id: [span; 8],
            }),
            ..SampleContext::default()
        }));
        aggregator.add(&sample);
    }
    let window = aggregator.close(BootTime(100), Losses::default());
    let mut spans: Vec<_> = window
        .samples
        .iter()
        .map(|sample| {
            let link = window.contexts[sample.context.0 as usize].link;
            (link.map(|link| link.span_id[0]), sample.occurrences.len())
        })
        .collect();
    spans.sort_unstable();
    assert_eq!(spans, [(None, 1), (Some(1), 2), (Some(2), 2)]);
    assert_eq!(window.losses.of(Degradation::LabelCut), 1);
}

#[test]
fn a_window_has_what_was_known_of_a_process_last() {
    let mut aggregator = aggregator(Limits::default(), 0);
    aggregator.add(&sample(1, 1, 1, &[1]));
    aggregator.add(&sample(2, 2, 2, &[1]));
    let named = |pid| {
        let mut process = Process::clone(&process(pid));
        process.comm = "known".into();
        Arc::new(process)
    };
    aggregator.amend(&named(1));
    // It has no samples here.
    aggregator.amend(&named(3));
    let window = aggregator.close(BootTime(100), Losses::default());
    let names: Vec<&str> = window.processes.iter().map(|p| &*p.comm).collect();
    assert_eq!(names, ["known", "comm2"]);
}

proptest! {
    #[test]
    fn windows_hold_what_was_added(
        added in prop::collection::vec(
            (0u64..60, 0u32..4, 0u32..3, prop::collection::vec(0u16..12, 0..6)), 0..200),
    ) {
        // Windows 10..20, 20..40, 40..60; all samples arrive before the first one closes, so that
        // each kind of misplaced time occurs.
        let mut aggregator = aggregator(Limits::default(), 10);
        let mut expected = vec![Flat::new(), Flat::new(), Flat::new()];
        let mut moved = 0;
        for (time, pid, tid, frames) in &added {
            let sample = sample(*time, *pid, *tid, frames);
            aggregator.add(&sample);
            let (window, time_within) = match *time {
                0..10 => (0, 10),
                10..20 => (0, *time),
                20..30 => (1, *time),
                _ => (0, 19),
            };
            moved += u64::from(time_within != *time);
            *expected[window].entry(flat_key(&sample, time_within)).or_default() += 1;
        }
        for (end, expected) in [20, 40, 60].into_iter().zip(&expected) {
            let window = aggregator.close(BootTime(end), Losses::default());
            prop_assert_eq!(window.end, BootTime(end));
            prop_assert!(window.losses.is_empty());
            prop_assert_eq!(&flatten(&window), expected);
        }
        prop_assert_eq!(aggregator.moved(), moved);
    }

    #[test]
    fn limits_hold_and_what_exceeds_them_is_counted(
        added in prop::collection::vec(
            (0u32..6, 0u32..6, prop::collection::vec(0u16..40, 0..9)), 1..200),
        samples in 1usize..150, locations in 0usize..30, stack_frames in 0usize..60,
        threads in 0usize..12,
    ) {
        let limits = Limits { samples, locations, stack_frames, threads, contexts: 0 };
        let mut aggregator = aggregator(limits, 0);
        for (pid, tid, frames) in &added {
            aggregator.add(&sample(1, *pid, *tid, frames));
        }
        let window = aggregator.close(BootTime(2), Losses::default());
        flatten(&window);
        prop_assert!(window.locations.len() <= locations);
        prop_assert!(window.threads.len() <= threads);
        prop_assert!(window.sample_count() as usize <= samples);
        let frames: usize = (0..window.stacks.len())
            .map(|index| window.stacks.get(crate::profile::StackIndex(index as u32)).len())
            .sum();
        prop_assert!(frames <= stack_frames);
        let lost = window.losses.of(SampleLoss::WindowFull);
        prop_assert_eq!(window.sample_count() + lost, added.len() as u64);
    }
}

#[test]
fn a_sample_that_fits_is_not_refused() {
    let limits = Limits {
        samples: 3,
        locations: 2,
        stack_frames: 3,
        threads: 1,
        contexts: 1,
    };
    let mut aggregator = aggregator(limits, 0);
    aggregator.add(&sample(1, 1, 1, &[1, 2]));
    aggregator.add(&sample(1, 1, 1, &[2]));
    aggregator.add(&sample(1, 1, 1, &[1, 2]));
    let window = aggregator.close(BootTime(2), Losses::default());
    assert_eq!(window.sample_count(), 3);
    assert!(window.losses.is_empty());
}

#[test]
fn new_locations_are_told_once_a_window() {
    let mut aggregator = aggregator(Limits::default(), 0);
    let told = |aggregator: &mut Aggregator| -> Vec<LocationKey> {
        let new = aggregator.take_new_locations();
        new.into_iter().map(|frame| frame.key).collect()
    };
    aggregator.add(&sample(1, 1, 1, &[1, 2, 1]));
    assert_eq!(told(&mut aggregator), [frame(1).key, frame(2).key]);
    aggregator.add(&sample(1, 1, 1, &[2, 3]));
    assert_eq!(told(&mut aggregator), [frame(3).key]);
    let _ = aggregator.close(BootTime(2), Losses::default());
    assert_eq!(told(&mut aggregator), []);
    aggregator.add(&sample(3, 1, 1, &[3]));
    assert_eq!(told(&mut aggregator), [frame(3).key]);
}

#[test]
fn the_latest_facts_of_a_process_win() {
    let mut aggregator = aggregator(Limits::default(), 0);
    aggregator.add(&sample(1, 1, 1, &[1]));
    let mut renamed = sample(1, 1, 1, &[1]);
    let mut facts = Process::clone(&renamed.process);
    facts.comm = "renamed".into();
    renamed.process = Arc::new(facts);
    aggregator.add(&renamed);
    let window = aggregator.close(BootTime(2), Losses::default());
    assert_eq!(window.processes.len(), 1);
    assert_eq!(&*window.processes[0].comm, "renamed");
    assert_eq!(window.samples.len(), 1);
}

#[test]
fn losses_of_earlier_stages_are_in_the_window() {
    let mut aggregator = aggregator(Limits::default(), 5);
    let mut losses = Losses::default();
    losses.add(SampleLoss::RingFull, 3);
    let window = aggregator.close(BootTime(1), losses);
    assert_eq!(window.losses.of(SampleLoss::RingFull), 3);
    assert_eq!((window.start, window.end), (BootTime(5), BootTime(6)));
    assert_eq!(aggregator.start(), BootTime(6));
}
