//! Which register the base register of a file's rules is.

/// The register on x86_64. On aarch64 it is x19 in every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BaseRegister {
    /// `Architecture::BASE_REGISTER`, on which a CFA may be.
    Rbx,
    /// The register in which Go's `racecall` keeps its stack pointer while the race detector runs (`StackSwitch::RaceCall`).
    /// No CFA is on it.
    R12,
}
