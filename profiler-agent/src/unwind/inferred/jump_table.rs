//! Targets of a jump by a table: what compilers make of `switch`.

pub(super) mod aarch64;
pub(super) mod x86_64;

/// Most instructions before the jump that are looked at.
pub(super) const MAX_BEFORE: usize = 32;
/// Most entries of a table.
const MAX_ENTRIES: u64 = 1024;

/// Reads bytes of the file by their address.
pub(super) type Read<'a> = dyn Fn(u64, u64) -> Option<Vec<u8>> + 'a;
