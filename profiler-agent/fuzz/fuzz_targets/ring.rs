//! A ring's record: what the kernel side wrote, as the agent reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::collect::decode::{Record, decode};

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(Record::Sample(sample)) => {
            assert!(8 * (sample.kernel.len() + sample.user.len()) <= bytes.len());
        }
        Ok(Record::Snapshot(snapshot)) => assert!(snapshot.stack_bytes() <= bytes.len()),
        Err(_) => {}
    }
});
