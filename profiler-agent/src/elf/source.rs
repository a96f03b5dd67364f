//! Where bytes come from.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;

/// Most bytes of a piece of an open file: the largest section that is read whole, one with call frame information. Callers
/// have bounds of their own below it.
pub const MAX_PIECE_BYTES: u64 = 64 << 20;

/// Bytes at positions: of a file, or of a process's memory.
pub trait ReadAt {
    /// Fills `into` with the bytes at `at`; is false when one of them is not there.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;

    /// The bytes at `at`.
    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes).then_some(bytes)
    }
    /// The four bytes at `at` as a little-endian number.
    fn half_word(&self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    /// The eight bytes at `at` as a little-endian number.
    fn word(&self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// A file: bytes that are read piece by piece, and are of a known length.
pub trait Source: ReadAt {
    /// A piece: borrowed from bytes in memory, owned where they are read from a file.
    type Bytes<'s>: Deref<Target = [u8]> + Into<Cow<'s, [u8]>> + fmt::Debug
    where
        Self: 's;

    /// Length in bytes.
    fn length(&self) -> u64;
    /// The bytes at `range`; `None` when one of them is not there, or where they are copied and more than
    /// [`MAX_PIECE_BYTES`].
    fn bytes(&self, range: Range<u64>) -> Option<Self::Bytes<'_>>;
}

impl ReadAt for [u8] {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let start = usize::try_from(at).ok();
        let found = start.and_then(|start| self.get(start..)?.get(..into.len()));
        if let Some(found) = found {
            into.copy_from_slice(found);
        }
        found.is_some()
    }
}

impl Source for [u8] {
    type Bytes<'s> = &'s [u8];

    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.get(start..end)
    }
}

impl ReadAt for Vec<u8> {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.as_slice().read(at, into)
    }
}

impl Source for Vec<u8> {
    type Bytes<'s> = &'s [u8];

    fn length(&self) -> u64 {
        self.as_slice().length()
    }
    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        self.as_slice().bytes(range)
    }
}

/// Read with `pread`, so that the file's position stays, and a file that shrinks meanwhile is an
/// absence (a mapping of it would be a fault).
impl ReadAt for File {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.read_exact_at(into, at).is_ok()
    }
}

impl Source for File {
    type Bytes<'s> = Vec<u8>;

    fn length(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }
    fn bytes(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let length = range.end.checked_sub(range.start)?;
        // Nothing is allocated for what is not there; and a file of any length may be there, without a block on disk.
        if length > MAX_PIECE_BYTES || range.end > self.length() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.read(range.start, &mut bytes).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_file_is_bounded_however_long_the_file_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let at = 1 << 39;
        assert_eq!(file.bytes(at..at + 5), Some(vec![0; 5]));
        assert_eq!(file.bytes(at..at + MAX_PIECE_BYTES + 1), None);
        assert_eq!(file.bytes(0..1 << 40), None);
    }
}
