//! Collapsed stacks: any bytes behind a line that is one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::export::{ReadLimits, pprof, read_saved};

const LIMITS: ReadLimits = ReadLimits {
    bytes: 1 << 20,
    entries: 10_000,
    elements: 100_000,
};

fuzz_target!(|input: &[u8]| {
    let file = [b"a;b 1\n".as_slice(), input].concat();
    if let Ok(saved) = read_saved(&file, &LIMITS) {
        // Every index of what was read is looked up.
        pprof::encode(&saved.profile).expect("what was read can be written");
    }
});
