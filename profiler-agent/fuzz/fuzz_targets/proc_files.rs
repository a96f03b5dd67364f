//! Lines of /proc that hold untrusted names and paths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::process::{cgroup, maps, stat::Stat};

fuzz_target!(|bytes: &[u8]| {
    if let Some(line) = maps::executable(bytes) {
        assert!(line.range.start < line.range.end);
    }
    if let Some(cgroup) = cgroup::parse(bytes)
        && let Some(container) = cgroup.container
    {
        assert!(container.0.len() >= 34);
    }
    drop(Stat::parse(bytes));
});
