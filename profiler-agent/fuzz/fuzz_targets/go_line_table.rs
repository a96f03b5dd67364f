//! Go executables and their line tables. As property tests: `go::tests::hostile`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::go::{LineTable, Steps, is_go, version_of};

fuzz_target!(|bytes: &[u8]| {
    let _ = (is_go(bytes), version_of(bytes));
    let Ok(table) = LineTable::find(bytes) else {
        return;
    };
    let mut ended = table.start();
    for function in table.functions() {
        assert!(ended <= function.entry() && function.entry() < function.end());
        assert!(function.end() <= table.end());
        ended = function.end();
        for range in function.stack_deltas().chain(function.lines()).flatten() {
            assert!(range.0.start < range.0.end && range.0.end <= function.end());
        }
        let found = function.frames(function.entry(), &mut Steps(1 << 12));
        assert!(found.malformed.is_some() || !found.frames.is_empty());
    }
});
