//! Bytes of a side-band ring.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::collect::sideband;

fuzz_target!(|bytes: &[u8]| sideband::check_hostile(bytes));
