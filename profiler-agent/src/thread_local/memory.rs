//! The memory of other processes.

use std::cell::OnceCell;
use std::fs::File;

use crate::elf::ReadAt;

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

impl<F: Fn() -> Option<File>> ReadAt for ProcessMemory<F> {
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let file = self.file.get_or_init(&self.open);
        // Positions above are not addresses of a process, and the system call refuses them.
        i64::try_from(at).is_ok() && file.as_ref().is_some_and(|file| file.read(at, into))
    }
}
