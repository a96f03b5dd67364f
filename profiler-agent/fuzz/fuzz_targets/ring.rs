//! A ring's record: what the kernel side wrote, as the agent reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::collect::decode::decode;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sample) = decode(bytes) {
        assert!(8 * (sample.kernel.len() + sample.user.len()) <= bytes.len());
    }
});
