//! Bounds of what is read from files and receivers.

/// Most of each thing that a profile that is read back may hold. A reader refuses more with an error
/// that names the limit; its memory stays within a small multiple of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes after decompression.
    pub bytes: usize,
    /// Entries of each table (strings, functions, locations, ..) and samples.
    pub entries: usize,
    /// Frames in all stacks together, lines in all locations together, timestamps.
    pub elements: usize,
}

impl Default for ReadLimits {
    /// 512 MiB, 5 million, 50 million.
    fn default() -> Self {
        Self {
            bytes: 512 << 20,
            entries: 5_000_000,
            elements: 50_000_000,
        }
    }
}
