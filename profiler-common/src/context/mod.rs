//! What the memory of a sampled thread says of its request: labels of the goroutine ([`labels`]), the
//! trace and span that the thread publishes ([`links`]). What does not change is read once
//! ([`constants`]). Pure, like [`unwind`](crate::unwind): the kernel runs what the host tests. All of
//! the memory that is followed is untrusted: every walk is bounded, whatever lengths and pointers
//! say.

pub mod constants;
pub mod labels;
pub mod links;

use crate::unwind::Memory;

/// Memory of which more than a word is read at once.
pub trait Bytes: Memory {
    /// Reads `bytes` bytes at `address` to the beginning of `into`; what lies behind them is
    /// undefined. Is false when they cannot be read, or are more than `into` has room for.
    fn read_bytes<const N: usize>(&mut self, address: u64, bytes: u64, into: &mut [u64; N])
    -> bool;
}
