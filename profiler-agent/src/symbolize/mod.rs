//! Names for locations: [`Window`](crate::profile::Window) -> [`Profile`](crate::profile::Profile).

mod cache;
mod config;
mod demangle;
mod dwarf;
mod elf;
mod jit;
mod kernel;
mod names;
mod open_in_root;
mod placeholder;
mod strings;
mod symbolizer;
mod tables;
mod thread;
#[cfg(test)]
mod truth;

pub use config::SymbolizeConfig;
pub use jit::perf_map;
pub use symbolizer::{Symbolizer, SymbolizerUsage};
pub use thread::{PendingProfile, SymbolizerGone, SymbolizerHandle, SymbolizerThread};
