//! Programs of others that the agent is proved against and measured beside.
//!
//! They are built from Go modules (`tests/peers/`) into `target/peers`, which takes minutes the first
//! time: what needs them is left out unless asked for, with `--with-peers`.

pub mod build;
pub mod collector;
pub mod profiler;
pub mod received;
