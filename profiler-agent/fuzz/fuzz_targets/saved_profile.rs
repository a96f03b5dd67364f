//! Any bytes as a saved profile: of a format within its limits, or an error.
#![no_main]

mod saved;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| saved::read_behind(b"", input));
