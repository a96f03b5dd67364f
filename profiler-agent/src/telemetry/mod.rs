//! What the agent says about itself.
//!
//! [`Reading`] is its numbers as plain values, gathered by `app` when somebody asks. [`metric`] names what is
//! told of them, [`measure`] takes the values, [`prometheus`] writes them. [`health`] decides from ages whether
//! the agent does its work. [`endpoints`] answers `/metrics`, `/healthz` and `/readyz`, [`own_profile`] `/debug/pprof/profile`.
//! [`log`] writes lines, as many as [`limit`] lets each place write.
//! [`trace`] makes the spans of windows, which threads publish to profilers; [`otlp`] exports metrics, traces and logs.

pub mod endpoints;
#[cfg(test)]
mod example;
pub mod executables;
pub mod health;
pub mod limit;
pub mod log;
pub mod measure;
pub mod memory;
pub mod metric;
pub mod observed;
pub mod otlp;
pub mod own_profile;
mod process_context;
pub mod prometheus;
pub mod reading;
mod thread_context;
pub mod trace;

pub use endpoints::{NotReady, Subject};
pub use reading::Reading;
