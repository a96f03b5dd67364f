//! Call frame information and Go's line tables to compact unwind tables.
//!
//! ELF file -> [`build()`] -> [`UnwindTable`](crate::profile::UnwindTable) (pure data, kept on disk by [`TableCache`]) ->
//! [`reindex()`] with the [`RuleInterner`] of all loaded tables -> words that the kernel side walks
//! by.
//!
//! - `elf`: machine, loaded segments and the sections with call frame information.
//! - `entries`: the frame description entries, sorted by address; `augmentation`: what their parser does not know.
//! - `convert`, `expression`: a row of call frame information to a `Rule`.
//! - `deltas`, `go_function`: a function of Go's line table to its rules.
//! - `output`, `writer`: rules in ascending order of address to the words of a table.
//! - `supplement`, `trampoline`: code of known shape that has no call frame information:
//!   procedure linkage tables, signal trampolines.
//! - `context`: where contexts of `makecontext` end.
//! - `inferred`: functions that have none, by their instructions.
//! - [`walk`](mod@walk): whole stacks; [`snapshot`]: those whose tables came later than their samples.
//!
//! A file without usable information is an [`Absent`] with its reason. A part of a file that
//! cannot be represented costs that part only and is counted in [`Statistics`].

mod absent;
mod address_page;
mod augmentation;
mod base_register;
mod build;
mod build_page;
pub mod cache;
mod code;
mod context;
mod convert;
mod deltas;
mod elf;
mod entries;
mod expression;
mod go_function;
mod inferred;
mod interner;
mod output;
mod page;
mod reindex;
mod search_table;
pub mod snapshot;
mod statistics;
mod supplement;
mod trampoline;
pub mod walk;
mod writer;

pub use absent::{Absent, Malformed, TooLarge};
pub use address_page::AddressPage;
pub use build::{Built, build, build_go};
pub use build_page::{Layout, build_page, layout};
pub use cache::{CacheError, CacheStatistics, TableCache, TableKey};
pub use interner::RuleInterner;
pub use page::page_of;
pub use reindex::{Reindexed, reindex};
pub use statistics::Statistics;
pub use walk::{walk, walk_goroutine};

#[cfg(test)]
mod tests;
