//! A ring's record: what the kernel side wrote, as the agent reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::collect::decode::{Record, decode};
use profiler_common::layout::Frame;

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(Record::Sample(sample)) => {
            assert!(8 * (sample.kernel.len() + sample.user.len()) <= bytes.len());
            let words = sample.user_frames().flat_map(|frame| match frame {
                Frame::Code(raw) => [Some(raw.0), None],
                Frame::Interpreted(frame) => frame.words().map(Some),
            });
            assert!(words.flatten().eq(sample.user.iter().map(|raw| raw.0)));
        }
        Ok(Record::Snapshot(snapshot)) => assert!(snapshot.stack_bytes() <= bytes.len()),
        Err(_) => {}
    }
});
