//! What the agent says about itself.
//!
//! [`Reading`] is its numbers as plain values, gathered by `app` when somebody asks. [`metric`] names what is
//! told of them, [`measure`] takes the values, [`prometheus`] writes them. [`health`] decides from ages whether
//! the agent does its work. [`endpoints`] answers `/metrics`, `/healthz` and `/readyz`.
//! [`log`] writes lines, as many as [`limit`] lets each place write.

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
pub mod prometheus;
pub mod reading;

pub use endpoints::{NotReady, Subject};
pub use reading::Reading;
