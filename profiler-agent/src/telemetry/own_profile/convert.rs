//! The agent's own stacks as a [`Profile`]. Pure.

use std::sync::Arc;

use crate::profile::{
    BootTime, FrameType, Function as Named, LineEntry, Location, LocationIndex, LocationKind,
    Occurrences, Process, ProcessKey, Profile, ProfileBuilder, SampleKey, SampleKind, SamplePeriod,
    Thread, UnixTime,
};

/// A function as its symbol and its source file, which may be empty.
pub(super) struct Function {
    pub(super) symbol: String,
    pub(super) file: String,
}

/// Samples with one stack.
pub(super) struct Stack<'a> {
    /// The thread's name.
    pub(super) thread: &'a str,
    /// Leaf first; in each frame the innermost inlined function first.
    pub(super) frames: Vec<Vec<Function>>,
    /// How many.
    pub(super) count: u64,
}

/// The profile of the process `pid` from `start` to `end`. Threads of one name are one: the signal does not say more. Lines
/// are left out, for the samples of a function are counted together wherever in it they were.
pub(super) fn profile<'a>(
    pid: u32,
    stacks: impl Iterator<Item = Stack<'a>>,
    (start, end): (UnixTime, UnixTime),
    period: SamplePeriod,
) -> Profile {
    let mut builder = ProfileBuilder::default();
    let process = builder.process(Arc::new(Process {
        key: ProcessKey {
            pid,
            started: BootTime(0),
        },
        parent: 0,
        comm: "profiler-agent".into(),
        executable: "profiler-agent".into(),
        cgroup: "".into(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    }));
    for stack in stacks {
        let thread = builder.thread(Thread {
            process,
            tid: pid,
            name: stack.thread.into(),
        });
        let frames: Vec<LocationIndex> = stack
            .frames
            .iter()
            .map(|inlined| location(&mut builder, inlined))
            .collect();
        let stack_index = builder.stack(&frames);
        let value = stack.count.saturating_mul(period.nanoseconds());
        builder.sample(
            SampleKey::new(thread, stack_index),
            (stack.count, value),
            &Occurrences::default(),
        );
    }
    builder.finish(start, end, SampleKind::on_cpu(period))
}

fn location(builder: &mut ProfileBuilder, inlined: &[Function]) -> LocationIndex {
    let mut frame_type = FrameType::Native;
    let mut lines = Vec::with_capacity(inlined.len());
    for function in inlined {
        let rust = rustc_demangle::try_demangle(&function.symbol).ok();
        if rust.is_some() {
            frame_type = FrameType::Rust;
        }
        // Without the hash at the end.
        let name = rust.map_or_else(|| function.symbol.clone(), |name| format!("{name:#}"));
        let function = builder.function(Named {
            name: name.into(),
            system_name: function.symbol.as_str().into(),
            file: function.file.as_str().into(),
            start_line: 0,
        });
        lines.push(LineEntry {
            function,
            line: 0,
            column: 0,
        });
    }
    builder.location(Location {
        mapping: None,
        address: 0,
        lines: lines.into(),
        frame_type,
        kind: LocationKind::Named,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(symbol: &str) -> Function {
        Function {
            symbol: symbol.into(),
            file: String::new(),
        }
    }

    #[test]
    fn stacks_keep_their_threads_their_inlined_calls_and_their_time() {
        let rust = "_ZN14profiler_agent6unwind5build17h0123456789abcdefE";
        let stack = |thread, count| Stack {
            thread,
            frames: vec![
                vec![function("memcpy"), function(rust)],
                vec![function("main")],
            ],
            count,
        };
        let stacks = [stack("tables", 3), stack("page", 1), stack("tables", 2)];
        let period = SamplePeriod::from_hertz(100);
        let times = (UnixTime(5), UnixTime(9));
        let profile = profile(7, stacks.into_iter(), times, period);
        assert_eq!(profile.sample_count(), 6);
        assert_eq!(profile.value(), 60_000_000);
        let samples = profile.samples.iter().map(|sample| {
            let thread = &profile.threads[sample.thread.0 as usize];
            (&*thread.name, sample.count)
        });
        assert_eq!(samples.collect::<Vec<_>>(), [("tables", 5), ("page", 1)]);
        let [leaf, main] = &*profile.locations else {
            panic!("{:?}", profile.locations);
        };
        let names = |location: &Location| {
            let lines = location.lines.iter();
            let names = lines.map(|line| &*profile.functions[line.function.0 as usize].name);
            names.collect::<Vec<_>>().join(" in ")
        };
        assert_eq!(names(leaf), "memcpy in profiler_agent::unwind::build");
        assert_eq!(
            (leaf.frame_type, main.frame_type),
            (FrameType::Rust, FrameType::Native)
        );
        assert_eq!((profile.start, profile.end), times);
    }
}
