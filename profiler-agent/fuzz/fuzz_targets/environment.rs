//! Environments of untrusted processes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::inspect::processes::environment::{MAX_ATTRIBUTES, MAX_KEY, MAX_VALUE, parse};
use profiler_agent::profile::AttributeValue;

fuzz_target!(|bytes: &[u8]| {
    let environment = parse(bytes);
    assert!(environment.attributes.len() <= MAX_ATTRIBUTES);
    for attribute in &*environment.attributes {
        assert!(attribute.key.len() <= MAX_KEY);
        let AttributeValue::Text(value) = &attribute.value else {
            panic!("all values are texts");
        };
        assert!(value.len() <= MAX_VALUE);
    }
});
