//! The stacks of samples.

use std::collections::BTreeMap;
use std::time::Duration;

use profiler_agent::collect::off_cpu::Forced;
use profiler_agent::collect::{Kernel, OffCpu};
use profiler_agent::process::{Limits, ProcFs, ProcessTable};
use profiler_agent::profile::{BootTime, ExecutableMapping, KernelAddress, MappingKind, RawSample};
use profiler_agent::unwind::{RuleInterner, build, layout, page_of, reindex};
use profiler_common::layout::RawFrame;
use profiler_common::unwind::Outcome;

use crate::recorder::{Recorder, WAYS, alone, boot_now, nap, on_thread};

/// Publishes this process with the tables of all its files.
fn publish(kernel: &mut Kernel) {
    let mut table = ProcessTable::new(ProcFs::new(Limits::default()));
    let now = BootTime(boot_now());
    table.scan(now);
    let pid = std::process::id();
    let mut rules = RuleInterner::new();
    let mappings: Vec<ExecutableMapping> = table.mappings(pid).cloned().collect();
    let image = table.image(pid).unwrap();
    let publisher = &mut kernel.publisher;
    publisher.publish(pid, image, mappings.iter(), now);
    for mapping in &mappings {
        let MappingKind::File { executable, .. } = &mapping.kind else {
            continue;
        };
        let bytes = match &executable.image {
            Some(image) => image.to_vec(),
            None => std::fs::read(&*executable.path).unwrap(),
        };
        let Ok(built) = build(bytes.as_slice()) else {
            continue;
        };
        let layout = layout(bytes.as_slice()).unwrap();
        publisher.load_table(executable.id, layout.start, layout.pages, now);
        for page in 0..layout.pages {
            let cut = page_of(&built.table, page);
            let words = cut.map_or(Vec::new(), |cut| reindex(cut, &mut rules).words);
            publisher.load_page(executable.id, page, &words, now);
        }
    }
    assert!(publisher.write_rules(0, rules.rules()));
}

/// The names of the kernel's functions at these return addresses.
fn kernel_names(sample: &RawSample) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let symbol = |line: &'_ str| -> Option<(u64, String)> {
        let mut words = line.split(' ');
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        words.next()?;
        Some((address, words.next()?.to_owned()))
    };
    let symbols: BTreeMap<u64, String> = text.lines().filter_map(symbol).collect();
    let name = |frame: &KernelAddress| symbols.range(..frame.0).next_back().unwrap().1.clone();
    sample.kernel.iter().map(name).collect()
}

/// The stack begins in the scheduler, and its user part leads through the function that slept to the thread's start.
#[test]
fn the_stack_is_that_of_who_slept() {
    let _alone = alone();
    for way in WAYS {
        let mut recorder = Recorder::start_with(OffCpu::default(), way, Forced::default());
        publish(&mut recorder.kernel);
        let thread = on_thread(|| nap(Duration::from_millis(20)));
        let truth = thread.join().unwrap();
        let samples = recorder.stop();
        let own = samples.iter().filter(|sample| sample.tid == truth.tid);
        let sample = own.max_by_key(|sample| sample.value).unwrap();
        let names = kernel_names(sample);
        assert_eq!(names[0], "__schedule", "{names:?}");
        assert!(
            names.iter().any(|name| name.contains("nanosleep")),
            "{names:?}"
        );
        assert_eq!(sample.outcome, Outcome::Root, "{sample:x?}");
        let nap = nap as fn(Duration) as usize as u64;
        let in_nap = |frame: &RawFrame| (nap..nap + 256).contains(&frame.pc());
        assert!(sample.user.iter().any(in_nap), "{nap:x} {sample:x?}");
    }
}
