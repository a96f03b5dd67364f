//! ELF files that processes have mapped.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::process::elf;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(summary) = elf::read(bytes) {
        assert!(summary.segments.is_sorted_by_key(|segment| segment.offset));
    }
    assert!(elf::htl_hash(bytes, bytes.len() as u64).is_some());
});
