//! What the agent says about itself.

pub mod log;
pub mod memory;
