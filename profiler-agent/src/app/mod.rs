//! The composition root: the only module that knows all stages.
//!
//! - [`collector`]: the thread that everything begins in: side-band and rings to windows, processes
//!   and tables to the kernel.
//! - [`tables`]: the thread that builds unwind tables.
//! - [`record`]: a recording, from start to file.

pub mod clock;
pub mod collector;
mod demand;
mod launch;
pub mod record;
pub mod report;
pub mod tables;
mod turns;
mod wake;
