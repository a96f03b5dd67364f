//! Names for locations: [`Window`](crate::profile::Window) -> [`Profile`](crate::profile::Profile).
//!
//! | location | names come from | module |
//! |---|---|---|
//! | kernel | `/proc/kallsyms`, read once, 2 MB | `kernel` |
//! | file, Go | the line table that Go programs carry, with inlined calls | `go` |
//! | file, other | DWARF with inlined calls, symbol tables, MiniDebugInfo, linkage stubs | `elf`, `dwarf` |
//! | anonymous memory | the process's perf map | `jit` |
//! | none of these | a name made of what is known: `libfoo.so+0x1a2b`, `[jit]`, `[truncated]` | `placeholder` |
//!
//! [`Symbolizer`] looks every distinct location of a window up in its cache, resolves the new ones in
//! batches (one per file, sorted by address) and lays the profile's tables out. [`SymbolizerThread`]
//! runs it off the sampling path.
//!
//! Invariants:
//! - What is kept between windows is within the budgets of [`SymbolizeConfig`]; what a batch takes beyond
//!   them goes with it. Files are mapped during their batch only.
//! - Every byte of an executable, debug file or perf map is untrusted: parsers are pure, bounded in
//!   memory and in work, and a file that is truncated while it is mapped reads as zeros.
//! - Eviction never changes a name, only its cost. The one exception is generated code, whose names
//!   follow the compiler's map.
//! - Nothing is opened by a path but below a process's root (`crate::confine`).

mod budget;
mod cache;
mod config;
mod demangle;
mod dwarf;
mod elf;
mod go;
mod jit;
mod kernel;
mod names;
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
pub use thread::{
    Hurry, PendingProfile, SharedUsage, SymbolizerGone, SymbolizerHandle, SymbolizerThread,
};
