//! The unwinder's pure core.
//!
//! A user stack is walked frame by frame: [`table`] finds the [`Rule`] for a pc, [`step()`] applies
//! it to the registers and reads memory through [`Memory`]. Where Go's runtime goes on on another stack,
//! [`cross()`] follows it there. The walk ends in an [`Outcome`].
//! Nothing here does I/O or knows whether it runs in the kernel or on the host.

mod address;
pub mod architecture;
pub mod goroutine;
pub mod outcome;
pub mod rule;
mod step;
mod switch;
pub mod table;

pub use address::AddressMask;
pub use architecture::{Aarch64, Architecture, X86_64};
pub use goroutine::Goroutine;
pub use outcome::Outcome;
pub use rule::{CfaKind, Rule, SavedKind, StackSwitch};
pub use step::{Memory, Registers, Slot, Step, frame_pointer_step, step};
pub use switch::{Stacks, cross};
