//! Why a file has no line table that can be read, and what of one cannot.

use thiserror::Error;

/// Why a file has no line table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is no little-endian 64-bit ELF file.
    #[error("no little-endian 64-bit ELF file")]
    NotElf,
    /// Nothing in it looks like a line table.
    #[error("no Go line table")]
    Absent,
    /// Its table is from Go 1.2 to 1.15.
    #[error("a line table of Go 1.15 or before")]
    TooOld,
    /// Its header contradicts itself or the file.
    #[error("malformed header of the line table")]
    Header,
    /// Where its text starts is not known.
    #[error("a line table whose text is not to be found")]
    Text,
}

/// A part of a line table that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A function's record, or one of its tables by address.
    #[error("malformed function in the Go line table")]
    Function,
    /// The tree of the calls inlined into a function.
    #[error("malformed inline tree of a Go function")]
    InlineTree,
}
