//! OTLP as JSON: any bytes behind the beginning of an object.
#![no_main]

mod saved;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| saved::read_behind(b"{", input));
