//! The perf-map reader: any bytes, cut anywhere, give the names that they give in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::profile::VirtualAddress;
use profiler_agent::symbolize::perf_map::{MAX_LINE, PerfMapScan};

fuzz_target!(|input: (Vec<u64>, u16, &[u8])| {
    let (addresses, chunk, text) = input;
    let addresses: Vec<VirtualAddress> = addresses.into_iter().map(VirtualAddress).collect();
    let mut whole = PerfMapScan::new(addresses.iter().copied());
    whole.feed(text);
    let whole = whole.finish();
    let mut parts = PerfMapScan::new(addresses.iter().copied());
    for chunk in text.chunks(usize::from(chunk).max(1)) {
        parts.feed(chunk);
    }
    let parts = parts.finish();
    assert_eq!(whole.malformed, parts.malformed);
    for address in addresses {
        assert_eq!(whole.get(address), parts.get(address));
        assert!(
            whole
                .get(address)
                .is_none_or(|name| !name.is_empty() && name.len() <= MAX_LINE)
        );
    }
});
