//! Why a file has no unwind table.

use crate::profile::Degradation;

/// An expected absence: data for counters and logs, never a reason to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Absent {
    /// It is no ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// It is an ELF file of another class or byte order than 64-bit little-endian.
    #[error("not a 64-bit little-endian ELF file")]
    WrongClass,
    /// Its machine (`e_machine`) is neither x86_64 nor aarch64.
    #[error("machine {0} is not supported")]
    WrongMachine(u16),
    /// It is an object file or a core dump: nothing that code is mapped from.
    #[error("neither an executable nor a shared object")]
    NotLinked,
    /// It has no executable segment.
    #[error("no executable segment")]
    NoCode,
    /// It has neither `.eh_frame` nor `.debug_frame` with an entry for its code.
    #[error("no call frame information")]
    NoUnwindInfo,
    /// A structure that everything hangs on is not as it has to be.
    #[error("malformed {0}")]
    Malformed(Malformed),
    /// It is beyond a bound.
    #[error("too large: {0}")]
    TooLarge(TooLarge),
}

/// A malformed structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The ELF header.
    #[error("ELF header")]
    Header,
    /// The program headers.
    #[error("program headers")]
    Segments,
    /// Every entry of the call frame information.
    #[error("call frame information")]
    CallFrames,
}

/// A bound that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TooLarge {
    /// Addresses between the first and the last byte of code.
    #[error("range of code addresses")]
    Span,
    /// Bytes of call frame information.
    #[error("call frame information")]
    Section,
    /// Rows.
    #[error("rows")]
    Rows,
    /// Words of the table.
    #[error("table")]
    Table,
    /// Work: entries that cost more than their size explains.
    #[error("work")]
    Work,
}

impl Absent {
    /// The cause that this absence is counted under; `None` for files that are no code.
    #[must_use]
    pub const fn loss(self) -> Option<Degradation> {
        match self {
            Self::NotElf | Self::NotLinked | Self::NoCode => None,
            Self::WrongClass | Self::WrongMachine(_) | Self::NoUnwindInfo => {
                Some(Degradation::UnwindInfoMissing)
            }
            Self::Malformed(Malformed::Header | Malformed::Segments) => {
                Some(Degradation::ElfMalformed)
            }
            Self::Malformed(Malformed::CallFrames) => Some(Degradation::UnwindInfoMalformed),
            Self::TooLarge(_) => Some(Degradation::UnwindTableBudget),
        }
    }
}
