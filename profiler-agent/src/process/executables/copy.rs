//! Copies of files whose file system may stop answering.
//!
//! Who reads a mapped file of a local file system waits for a disk. One in user space answers to its owner, one in the
//! network to nobody when the network is gone, and a page of it that is not there holds its reader up for ever. So
//! such a file is copied into memory when it is opened, where it can be left behind, and read from there. A longer file
//! than is copied is read as it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Weak;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::profile::Executable;

/// Bytes of a file that is copied at most.
const MAX_BYTES: u64 = 32 << 20;
/// Bytes of all copies that are in use.
const MAX_ALL_BYTES: u64 = 96 << 20;
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// The copies that are in use.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<(Weak<Executable>, u64)>);

impl Copies {
    /// Bytes that one more may have.
    pub(super) fn room(&mut self) -> u64 {
        self.0
            .retain(|(executable, _)| executable.strong_count() > 0);
        let used: u64 = self.0.iter().map(|(_, bytes)| bytes).sum();
        MAX_ALL_BYTES.saturating_sub(used).min(MAX_BYTES)
    }

    /// Counts the copy that an executable has.
    pub(super) fn add(&mut self, executable: Weak<Executable>, bytes: u64) {
        self.0.push((executable, bytes));
    }
}

/// A copy of a file of this length in memory.
///
/// # Errors
/// When it cannot be read, or there is no memory.
pub(super) fn of(file: &File, length: u64) -> io::Result<File> {
    let copy = File::from(
        memfd_create(c"executable", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create(c"executable", MemfdFlags::CLOEXEC))?,
    );
    let mut chunk = vec![0; CHUNK];
    let mut position = 0;
    while position < length {
        let wanted = (length - position).min(CHUNK as u64) as usize;
        match file.read_at(&mut chunk[..wanted], position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                copy.write_all_at(&chunk[..count], position)?;
                position += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_their_places() {
        let content: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&content, 0).unwrap();
        let copy = of(&file, content.len() as u64).unwrap();
        let mut found = vec![0; content.len()];
        copy.read_exact_at(&mut found, 0).unwrap();
        assert!(found == content);
        assert_eq!(copy.metadata().unwrap().len(), content.len() as u64);
        // It was truncated since.
        assert!(of(&file, content.len() as u64 + 1).is_err());
    }

    #[test]
    fn copies_count_while_they_are_in_use() {
        let executable = Arc::new(super::super::unopened(
            crate::profile::ExecutableId(1),
            Box::default(),
            None,
        ));
        let mut copies = Copies::default();
        assert_eq!(copies.room(), MAX_BYTES);
        copies.add(Arc::downgrade(&executable), MAX_ALL_BYTES - 7);
        assert_eq!(copies.room(), 7);
        drop(executable);
        assert_eq!(copies.room(), MAX_BYTES);
    }
}
