//! OTLP as JSON: any bytes behind the beginning of an object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::export::{ReadLimits, pprof, read_saved};

const LIMITS: ReadLimits = ReadLimits {
    bytes: 1 << 20,
    entries: 10_000,
    elements: 100_000,
};

fuzz_target!(|input: &[u8]| {
    let file = [b"{".as_slice(), input].concat();
    if let Ok(saved) = read_saved(&file, &LIMITS) {
        // Every index of what was read is looked up.
        pprof::encode(&saved.profile).expect("what was read can be written");
    }
});
