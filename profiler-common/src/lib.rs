//! What the kernel side and the user side of the profiler agree on.
//!
//! - [`context`]: what a thread's memory says of its request.
//! - [`layout`]: the bytes that cross the kernel boundary, with size and offset assertions.
//! - [`off_cpu`]: which stays of a thread off CPU are recorded, and what each record stands for.
//! - [`unwind`]: the unwinder's pure core (registers + rule + memory -> registers, or a reason),
//!   generic over memory and table access, compiled for the kernel and for the host.
#![no_std]
#![deny(missing_docs)]

pub mod context;
pub mod layout;
pub mod off_cpu;
pub mod unwind;
