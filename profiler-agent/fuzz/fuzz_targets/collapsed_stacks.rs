//! Collapsed stacks: any bytes behind a line that is one.
#![no_main]

mod saved;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| saved::read_behind(b"a;b 1\n", input));
