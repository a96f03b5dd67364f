//! Bytes of files and of other processes' memory.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes at positions.
pub trait Source {
    /// Fills `into` with the bytes at `at`; is false when one of them is not there.
    fn read(&self, at: u64, into: &mut [u8]) -> bool;

    /// The bytes at `at`.
    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes).then_some(bytes)
    }
    /// The eight bytes at `at` as a number.
    fn word(&self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
    /// The `length` bytes at `at`.
    fn bytes(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read(at, &mut bytes).then_some(bytes)
    }
}

impl Source for File {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        self.read_exact_at(into, at).is_ok()
    }
}

impl Source for [u8] {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let start = usize::try_from(at).ok();
        let found = start.and_then(|start| self.get(start..)?.get(..into.len()));
        if let Some(found) = found {
            into.copy_from_slice(found);
        }
        found.is_some()
    }
}

/// The memory of a process, opened when it is first read: most processes have nothing to look up.
pub struct ProcessMemory<F> {
    open: F,
    file: OnceCell<Option<File>>,
}

impl<F: Fn() -> Option<File>> ProcessMemory<F> {
    /// What `open` opens: positions in it are addresses.
    #[must_use]
    pub const fn new(open: F) -> Self {
        Self {
            open,
            file: OnceCell::new(),
        }
    }
}

impl<F: Fn() -> Option<File>> Source for ProcessMemory<F> {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let file = self.file.get_or_init(&self.open);
        // Positions above are not addresses of a process, and the system call refuses them.
        i64::try_from(at).is_ok() && file.as_ref().is_some_and(|file| file.read(at, into))
    }
}
