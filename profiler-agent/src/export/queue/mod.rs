//! Payloads on their way to one destination: a bounded queue in memory, delivered in order.
//!
//! [`Queue`] decides (pure: time and chance come in as values), [`run`] does what it says, anyone
//! who has the [`QueueHandle`] pushes. A payload that was pushed is delivered, waits, or is counted
//! as lost with its cause: dropped as the oldest when the queue is full, refused by the receiver, or
//! undelivered at shutdown.

mod driver;
mod state;

#[cfg(test)]
mod tests;

pub use driver::{QueueHandle, run};
pub use state::{Backoff, Limits, Next, Queue};
