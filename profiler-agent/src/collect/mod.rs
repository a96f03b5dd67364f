//! The kernel boundary: the only place that speaks BPF and perf events.
//!
//! - [`loader`] sets the programs' constants and loads them; `way` finds how the kernel lets stacks be walked.
//! - `address_mask` learns which bits of return addresses are signatures.
//! - [`off_cpu`] finds how the kernel tells for how long threads are off CPU.
//! - [`sampler`] opens the sampling events, one per CPU; [`cpus`] says which there are and keeps an event of each open.
//! - [`rings`] reads the rings; [`decode`] makes samples of records.
//! - [`publish`] writes what the kernel side knows of processes and their unwind tables;
//!   [`segments`] places tables in memory.
//! - [`survey`] says what the running kernel offers.
//! - [`sideband`] tells what happens to processes.
//! - [`error`] says what failed, why, and what to do; [`limits`] raises what this process may have.

mod address_mask;
pub mod btf;
mod context;
pub mod counters;
pub mod cpus;
pub mod decode;
pub mod error;
#[cfg(feature = "fault-injection")]
mod fault;
mod layout;
pub mod limits;
pub mod loader;
mod of_maps;
pub mod off_cpu;
mod offsets;
mod program;
pub mod publish;
pub mod rings;
pub mod sampler;
mod segment_memory;
pub mod segments;
pub mod sideband;
mod slots;
pub mod survey;
pub mod traces;
mod way;

pub use error::CollectError;
pub use loader::{Kernel, LoadOptions, Selection};
pub use off_cpu::{OffCpu, ResumeWay};
pub use program::ProgramCost;
pub use way::Way;
