//! Reading profiles back: what pprof and OTLP have in common, texts, and which of them a file is. Whatever is read is
//! untrusted.

mod collapsed;
mod infer;
mod otlp_json;
mod otlp_requests;
#[cfg(test)]
mod otlp_requests_tests;
mod perf_script;
mod saved;
#[cfg(test)]
mod saved_tests;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use std::cell::Cell;

pub(super) use infer::{bytes_of, frame_type_of, location_kind_of, made_up_name};
pub use saved::{Saved, SavedFormat, decode as read_saved};
pub(super) use wire::{Fields, Value, fixed64s, message, numbers};

/// Most of each thing that a profile that is read back may hold. A reader refuses more with an error
/// that names the limit; its memory stays within a small multiple of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes after decompression.
    pub bytes: usize,
    /// Entries of all tables together (strings, functions, locations, ..), and samples.
    pub entries: usize,
    /// Frames of all samples together, lines of all locations together, timestamps.
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

/// Most that one sample of a file counts: the sum of any file's samples stays a `u64`.
pub(super) const MAX_COUNT: u64 = 1 << 40;

/// A file that cannot be read as a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The gzip stream is damaged.
    #[error("decompress: {0}")]
    Compressed(#[from] std::io::Error),
    /// It holds more than is read.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It is no such message, or damaged.
    #[error("malformed {what}")]
    Malformed {
        /// The part that is.
        what: &'static str,
    },
    /// It refers to what is not there.
    #[error("no {what} {id}")]
    Dangling {
        /// The table.
        what: &'static str,
        /// The index or id.
        id: i128,
    },
    /// A line of a text is not what it should be.
    #[error("line {line}: not {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What was expected.
        what: &'static str,
    },
    /// It is no JSON, or not that of OTLP.
    #[error("malformed JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of no format that is read.
    #[error("not a profile that can be read: {hint}")]
    Unknown {
        /// What it is, or what to do.
        hint: &'static str,
    },
    /// It is a profile of something else.
    #[error("not a profile of time: its samples count {types}")]
    NotTime {
        /// What it counts.
        types: String,
    },
}

impl ReadError {
    pub(super) fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }
    pub(super) fn dangling(what: &'static str, id: impl Into<i128>) -> Self {
        let id = id.into();
        Self::Dangling { what, id }
    }
}

/// Texts that are longer than names usually are. Each counts as often as it is used, for whatever uses it reads all of it,
/// and copies it at times: a file that has a long text once and refers to it a million times would else take the memory and
/// time of a million.
pub(super) struct LongTexts {
    limit: usize,
    left: Cell<usize>,
}

impl LongTexts {
    /// Bytes of a text that is not long: the number of entries bounds those.
    const USUAL: usize = 256;

    pub(super) const fn new(limits: &ReadLimits) -> Self {
        Self {
            limit: limits.bytes,
            left: Cell::new(limits.bytes),
        }
    }

    /// Counts a use of a text.
    pub(super) fn used(&self, text: &[u8]) -> Result<(), ReadError> {
        if text.len() <= Self::USUAL {
            return Ok(());
        }
        let left = self.left.get().checked_sub(text.len());
        self.left.set(left.ok_or(ReadError::TooLarge {
            what: "bytes of long texts, each as often as it is used",
            limit: self.limit,
        })?);
        Ok(())
    }
}

/// Counts towards a limit.
pub(super) struct Budget {
    what: &'static str,
    limit: usize,
    left: usize,
}

impl Budget {
    pub(super) const fn new(what: &'static str, limit: usize) -> Self {
        Self {
            what,
            limit,
            left: limit,
        }
    }
    /// Takes `count` of what is left.
    pub(super) fn take(&mut self, count: usize) -> Result<(), ReadError> {
        self.left = self.left.checked_sub(count).ok_or(ReadError::TooLarge {
            what: self.what,
            limit: self.limit,
        })?;
        Ok(())
    }
}
