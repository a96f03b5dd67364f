//! Windows of located samples, interned.
//!
//! [`Aggregator::add`] takes samples one by one; [`Aggregator::close`] ends the window and starts the
//! next one at the same moment, so that windows neither overlap nor leave gaps.
//!
//! - Identity is content: location keys, stacks and threads are compared whole; hashes only find
//!   candidates.
//! - A sample whose stack and thread are known costs its timestamp and no allocation beyond it.
//! - Everything is bounded by [`Limits`]; what does not fit is counted as `SampleLoss::WindowFull`.
//! - Every timestamp lies in the window's `start .. end`. A sample that was taken before the window
//!   opened (its ring was read late) is kept and moved to `start`. A sample that was taken at or
//!   after `end` waits for the next window; one that is further ahead than the whole window is long
//!   (a broken clock) is kept and moved to the last nanosecond. [`Aggregator::moved`] counts both.

mod aggregator;
mod stack_table;

#[cfg(test)]
mod tests;

pub use aggregator::{Aggregator, Config, Limits};
