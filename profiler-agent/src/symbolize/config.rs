//! What a user of the symbolizer chooses.

use std::time::Duration;

/// Budgets of the symbolizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolizeConfig {
    /// Bytes of names that are kept between windows.
    pub cache_bytes: usize,
    /// Bytes of indices into debug information (and of decompressed sections) that are kept
    /// between windows.
    pub index_bytes: usize,
    /// Files with more bytes of debug information than this get names from their symbol table
    /// alone.
    pub debug_info_bytes: u64,
    /// Files whose compressed debug information is larger than this, decompressed, get names from their
    /// symbol table alone.
    pub decompressed_bytes: u64,
    /// Read inlined functions and lines?
    pub debug_info: bool,
    /// Bytes of a perf map that are read.
    pub perf_map_bytes: u64,
    /// Items of one file (entries, attributes, instructions, ranges) that are looked at for one window.
    pub file_steps: u64,
    /// How long the debug information of one file may be read for one window: then the file gets names from its
    /// symbol table.
    pub file_time: Duration,
    /// How long files may be read for one window: half of it with debug information, the other half without.
    pub window_time: Duration,
    /// Batches of new locations that may wait to be named early.
    pub prefetch_queue: usize,
}

impl Default for SymbolizeConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            index_bytes: 16 << 20,
            debug_info_bytes: 256 << 20,
            decompressed_bytes: 24 << 20,
            debug_info: true,
            perf_map_bytes: 64 << 20,
            file_steps: 40_000_000,
            file_time: Duration::from_millis(500),
            window_time: Duration::from_secs(4),
            prefetch_queue: 256,
        }
    }
}
