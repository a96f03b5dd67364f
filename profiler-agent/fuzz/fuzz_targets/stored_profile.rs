//! A profile of the local store, before compression: any bytes are a profile that is written and read again, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::profile::Merger;
use profiler_agent::store::encoding::{decode, decode_body, encode};

fuzz_target!(|body: &[u8]| {
    if let Some(profile) = decode_body(body) {
        // Every index leads somewhere.
        let mut merger = Merger::of_frames();
        merger.add(&profile, |_| true);
        let _ = merger.finish();
        let encoded = encode(&profile).expect("what was read is no larger than what is written");
        assert_eq!(decode(&encoded), Some(profile));
    }
});
