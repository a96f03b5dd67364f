//! An untrusted file, mapped while a batch of its addresses is resolved.
//!
//! Mapped rather than read: of a file of hundreds of megabytes a batch touches a few pages, and
//! they leave the resident set with the mapping. But its owner may truncate the file meanwhile, and
//! the next access to a page behind the new end raises SIGBUS, which would end the agent. So a
//! handler puts anonymous zero pages in the place of the rest of the mapping and lets the access go
//! on; the parser then finds zeros, and [`MappedFile::truncated`] tells that what it found is void.
//! A SIGBUS elsewhere goes to the handler that was there before.

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

/// Files that are mapped at a time at most, over all threads.
const SLOTS: usize = 64;
/// Bytes of a file that are mapped.
const MAX_LENGTH: u64 = 64 << 30;

/// A mapping that the handler guards. A slot is free when its length is zero.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    length: AtomicUsize,
    truncated: AtomicBool,
}

static GUARDED: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        truncated: AtomicBool::new(false),
    }
}; SLOTS];
static PAGE: AtomicUsize = AtomicUsize::new(4096);
/// The action that was there before; leaked, so that the handler can read it at any time.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// A file's bytes. They may change while they are read, and turn to zeros when it is truncated.
#[derive(Debug)]
pub struct MappedFile {
    start: NonNull<u8>,
    length: usize,
    slot: usize,
}

impl MappedFile {
    /// Maps the whole file.
    ///
    /// # Errors
    /// What the system calls say; `InvalidInput` for an empty file, `OutOfMemory` when it is too long or
    /// too many files are mapped.
    pub fn new(file: &File) -> io::Result<Self> {
        guard()?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        if length > MAX_LENGTH {
            return Err(io::Error::from(io::ErrorKind::OutOfMemory));
        }
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let slot = GUARDED
            .iter()
            .position(|slot| !slot.taken.swap(true, Ordering::AcqRel))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new private mapping at an address of the kernel's choice overlaps nothing.
        let mapped = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                file,
                0,
            )
        };
        let start = match mapped.map(|start| NonNull::new(start.cast())) {
            Ok(Some(start)) => start,
            failed => {
                GUARDED[slot].taken.store(false, Ordering::Release);
                return Err(failed
                    .err()
                    .map_or(io::ErrorKind::OutOfMemory.into(), Into::into));
            }
        };
        GUARDED[slot].truncated.store(false, Ordering::Relaxed);
        GUARDED[slot]
            .start
            .store(start.as_ptr() as usize, Ordering::Relaxed);
        GUARDED[slot].length.store(length, Ordering::Release);
        Ok(Self {
            start,
            length,
            slot,
        })
    }

    /// Was the file truncated while it was read?
    pub fn truncated(&self) -> bool {
        GUARDED[self.slot].truncated.load(Ordering::Acquire)
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable over its whole length until drop; pages that a truncation
        // took are replaced by the handler. Bytes that somebody changes meanwhile are plain data:
        // every parser bounds-checks what it computes from them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        let slot = &GUARDED[self.slot];
        slot.length.store(0, Ordering::Release);
        // SAFETY: the mapping is ours, and no slice of it outlives self.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
        slot.taken.store(false, Ordering::Release);
    }
}

/// Takes the pages of these `length` bytes out of the resident set, if they lie in a mapped file; the
/// next access brings them back. What was streamed over would otherwise count as the agent's own until
/// the file is unmapped: for a symbol table of a large program, tens of megabytes.
pub fn let_go(bytes: *const u8, length: usize) {
    let start = bytes as usize;
    let Some(end) = start.checked_add(length) else {
        return;
    };
    let inside = |slot: &&Slot| {
        let mapped = slot.length.load(Ordering::Acquire);
        let from = slot.start.load(Ordering::Relaxed);
        mapped > 0 && from <= start && end <= from.saturating_add(mapped)
    };
    if !GUARDED.iter().any(|slot| inside(&slot)) {
        return;
    }
    let page = PAGE.load(Ordering::Relaxed);
    let first = start & !(page - 1);
    // SAFETY: the pages are those of a private file mapping that this thread keeps alive while it has
    // a slice of it, and that nobody writes to: dropping them loses nothing. Advice may be refused.
    let _ = unsafe { libc::madvise(first as *mut c_void, end - first, libc::MADV_DONTNEED) };
}

/// Installs the handler, once.
fn guard() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            // SAFETY: sysconf has no preconditions.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::Relaxed);
            // SAFETY: sigaction is a plain C structure, valid when zero.
            let previous = Box::leak(Box::new(unsafe { std::mem::zeroed::<libc::sigaction>() }));
            // SAFETY: as above.
            let mut action = unsafe { std::mem::zeroed::<libc::sigaction>() };
            let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: asks for the action only; then the pointer is published before our handler
            // can run and read it.
            let asked = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), previous) };
            PREVIOUS.store(previous, Ordering::Release);
            // SAFETY: the handler is async-signal-safe: it loads atomics and makes system calls.
            let set =
                unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
            if asked == 0 && set == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
            }
        })
        .map_err(io::Error::from_raw_os_error)
}

extern "C" fn on_sigbus(signal: i32, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &GUARDED {
        let length = slot.length.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Relaxed);
        if length == 0 || address.wrapping_sub(start) >= length {
            continue;
        }
        let page = PAGE.load(Ordering::Relaxed);
        let first = address & !(page - 1);
        let rest = (start + length).next_multiple_of(page) - first;
        // SAFETY: replaces a part of our own mapping, which no reference can observe as anything but
        // other bytes.
        let replaced = unsafe {
            libc::mmap(
                first as *mut c_void,
                rest,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if replaced != libc::MAP_FAILED {
            slot.truncated.store(true, Ordering::Release);
            return;
        }
    }
    // Not ours: the previous action is restored, and the access that faulted meets it.
    let previous = PREVIOUS.load(Ordering::Acquire);
    // SAFETY: `previous` is null or leaked and initialised by sigaction.
    unsafe {
        libc::sigaction(signal, previous, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_truncated_file_reads_as_zeros_and_says_so() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 3 * 4096]).unwrap();
        let mapped = MappedFile::new(&file).unwrap();
        assert_eq!(mapped[2 * 4096], 7);
        assert!(!mapped.truncated());
        file.set_len(4096).unwrap();
        assert_eq!(mapped[0], 7);
        assert_eq!(mapped[2 * 4096 + 5], 0);
        assert_eq!(mapped[3 * 4096 - 1], 0);
        assert!(mapped.truncated());
    }

    #[test]
    fn slots_are_given_back() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"x").unwrap();
        for _ in 0..4 * SLOTS {
            assert_eq!(&*MappedFile::new(&file).unwrap(), b"x");
        }
    }
}
