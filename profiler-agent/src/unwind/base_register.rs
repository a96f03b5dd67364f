//! Which register the base register of a file's rules is.

/// On x86_64; on aarch64 it is x19 everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BaseRegister {
    /// The one that rules take for it.
    #[default]
    Rbx,
    /// That in which Go's `racecall` keeps the stack pointer, for the code of the race detector, which it calls
    /// (`StackSwitch::RaceCall`). No CFA of that code is on it.
    R12,
}
