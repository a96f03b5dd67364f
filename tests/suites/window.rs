//! A window that was never sampled, for what is between an encoder and a receiver.

use std::collections::BTreeMap;
use std::sync::Arc;

use profiler_agent::profile::{
    BootTime, FrameType, Function, LineEntry, Link, Location, LocationIndex, LocationKind,
    Occurrences, Process, ProcessKey, Profile, ProfileBuilder, SampleKey, SampleKind, SamplePeriod,
    Thread, UnixTime,
};

/// CPU time that a sample stands for.
const PERIOD: SamplePeriod = SamplePeriod::from_hertz(99);

/// A window begun at `start` with so many distinct stacks of 20 frames, each seen twice, at times of its own.
pub fn window(start: UnixTime, stacks: u64) -> Profile {
    let mut builder = ProfileBuilder::default();
    let locations: Vec<_> = (0..200_u32)
        .map(|number| {
            let name: Arc<str> = format!("module::function_{number}").into();
            let function = builder.function(Function {
                name: Arc::clone(&name),
                system_name: name,
                file: "src/module.rs".into(),
                start_line: number,
            });
            let line = LineEntry {
                function,
                line: number,
                column: 0,
            };
            builder.location(Location {
                mapping: None,
                address: u64::from(number),
                lines: [line].into(),
                frame_type: FrameType::Rust,
                kind: LocationKind::Named,
            })
        })
        .collect();
    let process = builder.process(Arc::new(Process {
        key: ProcessKey {
            pid: 4_000_000,
            started: BootTime(0),
        },
        parent: 1,
        comm: "shop".into(),
        executable: "/bin/shop".into(),
        cgroup: "/".into(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    }));
    let thread = builder.thread(Thread {
        process,
        tid: 4_000_001,
        name: "worker".into(),
    });
    for number in 0..stacks {
        // A number in base 200, and in front of it frames that all stacks share.
        let digits = [number % 200, number / 200 % 200, number / 40_000 % 200];
        let digits = digits.map(|digit| locations[digit as usize]);
        let stack: Vec<_> = digits.into_iter().chain(locations[..17].to_vec()).collect();
        let key = SampleKey {
            link: (number % 7 == 0).then(|| Link {
                trace_id: trace_id(number),
                span_id: (number + 1).to_be_bytes(),
            }),
            ..SampleKey::new(thread, builder.stack(&stack))
        };
        let times = [number * 2, number * 2 + 1].map(|n| UnixTime(start.0 + n * 1_000));
        let taken = Occurrences::equal(PERIOD.nanoseconds(), times.to_vec());
        builder.taken(key, &taken);
    }
    builder.finish(
        start,
        UnixTime(start.0 + 10_000_000_000),
        SampleKind::on_cpu(PERIOD),
    )
}

/// The trace of every seventh stack.
pub fn trace_id(stack: u64) -> [u8; 16] {
    (u128::from(stack) + 1).to_be_bytes()
}

/// How often each stack, root first, is in the profile.
pub fn sampled(profile: &Profile) -> BTreeMap<Vec<String>, i64> {
    let mut stacks = BTreeMap::new();
    for sample in &profile.samples {
        let locations = profile.stacks.get(sample.stack).iter().rev();
        let name = |location: &LocationIndex| {
            let line = profile.locations[location.0 as usize].lines[0];
            profile.functions[line.function.0 as usize].name.to_string()
        };
        *stacks.entry(locations.map(name).collect()).or_default() += sample.count as i64;
    }
    stacks
}
