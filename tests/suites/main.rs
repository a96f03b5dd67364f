//! The real agent over real programs whose truth is known, one suite a module: `cargo test -p profiler-tests --test
//! suites native::` runs one of them, as root and on one thread (`-- --test-threads=1`).

mod agent;
mod alerts;
mod capabilities;
mod cli;
mod collector;
mod delivery;
mod deployment;
mod doctor;
mod durability;
mod exports;
mod first_seconds;
mod go_labels;
mod go_profile;
mod go_runtime_profile;
mod go_stacks;
mod go_symbols;
mod inlined;
mod jit;
mod large;
mod limits;
mod namespaces;
mod native;
mod offspring;
mod outage;
mod own_signals;
mod process_context;
mod pyroscope;
mod shared_objects;
mod short_lived;
mod signals;
mod thread_context;
mod unusual;
mod window;
