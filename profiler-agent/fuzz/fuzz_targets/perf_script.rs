//! The output of `perf script`: any bytes behind a sample.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::export::{ReadLimits, pprof, read_saved};

const LIMITS: ReadLimits = ReadLimits {
    bytes: 1 << 20,
    entries: 10_000,
    elements: 100_000,
};

fuzz_target!(|input: &[u8]| {
    let file = [
        b"a 1/2 [000]  1.5: 7 cpu-clock:\n\t 1f b+0x1 (/c)\n\n".as_slice(),
        input,
    ]
    .concat();
    if let Ok(saved) = read_saved(&file, &LIMITS) {
        // Every index of what was read is looked up.
        pprof::encode(&saved.profile).expect("what was read can be written");
    }
});
