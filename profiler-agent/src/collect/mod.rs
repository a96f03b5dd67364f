//! The kernel boundary: the only place that speaks BPF and perf events.
//!
//! - [`loader`] probes the kernel, sets the programs' constants and loads them.
//! - [`sampler`] opens the sampling events, one per CPU; [`cpus`] says which there are.
//! - [`rings`] reads the rings; [`decode`] makes samples of records.
//! - [`publish`] writes what the kernel side knows of processes and their unwind tables;
//!   [`segments`] places tables in memory.
//! - [`sideband`] tells what happens to processes.

pub mod btf;
mod context;
pub mod counters;
pub mod cpus;
pub mod decode;
pub mod error;
mod layout;
pub mod loader;
pub mod publish;
pub mod rings;
pub mod sampler;
mod segment_memory;
pub mod segments;
pub mod sideband;
mod slots;
pub mod traces;

pub use error::CollectError;
pub use loader::{Kernel, LoadOptions, Selection};
