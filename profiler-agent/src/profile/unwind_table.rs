//! The unwind table of a file before it is loaded: `profiler_common::unwind::table` with its own
//! rules, which loading replaces by indices into the shared array.

use profiler_common::unwind::Rule;

use super::ElfAddress;

/// A compact unwind table: pure data, cached on disk by build id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwindTable {
    /// First address of the range that it covers, as the file states it: a multiple of 64 KiB.
    pub start: ElfAddress,
    /// Length of the index in buckets.
    pub buckets: u32,
    /// Index and rows as `profiler_common::unwind::table` has them; a row's rule is an index into
    /// `rules`.
    pub words: Vec<u32>,
    /// The distinct rules of this file; rule 0 is `Rule::NONE`.
    pub rules: Vec<Rule>,
}
