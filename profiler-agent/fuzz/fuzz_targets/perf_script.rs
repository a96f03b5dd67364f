//! The output of `perf script`: any bytes behind a sample.
#![no_main]

mod saved;

use libfuzzer_sys::fuzz_target;

/// A sample as `perf script` prints it.
const SAMPLE: &[u8] = b"a 1/2 [000]  1.5: 7 cpu-clock:\n\t 1f b+0x1 (/c)\n\n";

fuzz_target!(|input: &[u8]| saved::read_behind(SAMPLE, input));
