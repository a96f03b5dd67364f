//! Where the bytes of an ELF file come from.

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are read piece by piece.
pub trait Source {
    /// Length in bytes.
    fn length(&self) -> u64;
    /// The bytes at `range`; `None` when one of them is not there.
    fn bytes(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>>;
}

impl Source for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn bytes(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.get(start..end).map(Cow::Borrowed)
    }
}

impl Source for Vec<u8> {
    fn length(&self) -> u64 {
        self.as_slice().length()
    }
    fn bytes(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        self.as_slice().bytes(range)
    }
}

/// Read with `pread`, so that the file's position stays, and a file that shrinks meanwhile is an
/// absence (a mapping of it would be a fault).
impl Source for File {
    fn length(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }
    fn bytes(&self, range: Range<u64>) -> Option<Cow<'_, [u8]>> {
        let length = range.end.checked_sub(range.start)?;
        if range.end > self.length() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.read_exact_at(&mut bytes, range.start).ok()?;
        Some(Cow::Owned(bytes))
    }
}
