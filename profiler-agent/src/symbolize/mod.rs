//! Names for locations: [`Window`](crate::profile::Window) -> [`Profile`](crate::profile::Profile).

mod cache;
mod config;
mod demangle;
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

pub use config::SymbolizeConfig;
pub use jit::perf_map;
pub use symbolizer::{Symbolizer, SymbolizerUsage};
pub use thread::{PendingProfile, SymbolizerGone, SymbolizerHandle, SymbolizerThread};
