//! The ring that a perf event writes into (`include/uapi/linux/perf_event.h`, `struct
//! perf_event_mmap_page`): one page of control, then a power of two of data pages. `data_head`
//! counts all bytes ever written, `data_tail` all bytes ever read; the kernel writes only outside of
//! `data_tail .. data_head`, and drops records (and says so) when there is no room.
//!
//! [`pieces`] and [`Records`] are pure; [`Ring`] maps the memory and moves the tail.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys::bindings::perf_event_mmap_page;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::collect::cpus::CpuEvent;
use crate::collect::cpus::per_cpu::read_progress;
use crate::collect::cpus::plan::Progress;

/// Where in a ring of `size` bytes the bytes `tail .. head` lie, in order: at most two pieces.
/// `None` when they cannot: more than the ring holds, or head before tail.
#[must_use]
pub fn pieces(head: u64, tail: u64, size: usize) -> Option<[Range<usize>; 2]> {
    let length = usize::try_from(head.wrapping_sub(tail)).ok()?;
    if length > size || size == 0 {
        return None;
    }
    let start = usize::try_from(tail % size as u64).ok()?;
    let first = length.min(size - start);
    Some([start..start + first, 0..length - first])
}

/// Records in bytes that were taken out of a ring: each with its header.
#[derive(Clone, Debug)]
pub struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// The records in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// A size in a record's header that no record has; what follows it cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LyingSize;

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], LyingSize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self
            .0
            .get(6..8)
            .map(|size| usize::from(u16::from_ne_bytes([size[0], size[1]])))
            .filter(|size| *size >= 8)
            .and_then(|size| self.0.split_at_checked(size));
        let Some((record, rest)) = record else {
            self.0 = &[];
            return Some(Err(LyingSize));
        };
        self.0 = rest;
        Some(Ok(record))
    }
}

/// What was taken out of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Everything that happened.
    All,
    /// There was hardly any room left: something that happened later may have been dropped, which the kernel says only
    /// in front of the next record that it writes.
    UpToRoom,
    /// Nothing: head and tail made no sense, and everything unread was skipped.
    Nonsense,
}

impl Taken {
    /// No record is longer: a mapping with a path of a page.
    const LONGEST: usize = 4_096 + 256;

    /// What these pieces of a ring of `size` bytes are.
    #[must_use]
    pub fn of(pieces: Option<&[Range<usize>; 2]>, size: usize) -> Self {
        match pieces.map(|pieces| pieces.iter().map(Range::len).sum::<usize>()) {
            None => Self::Nonsense,
            Some(taken) if size - taken < Self::LONGEST => Self::UpToRoom,
            Some(_) => Self::All,
        }
    }
}

/// A perf event and its mapped ring.
#[derive(Debug)]
pub struct Ring {
    event: OwnedFd,
    base: NonNull<u8>,
    page: usize,
    size: usize,
}

// SAFETY: the mapping belongs to this value alone, and is only read and its tail written through
// `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps `pages` (a power of two) data pages of `event`.
    ///
    /// # Errors
    /// What `mmap(2)` gives: `EPERM` when the limit of locked memory is reached.
    pub fn new(event: OwnedFd, pages: usize) -> std::io::Result<Self> {
        let page = rustix::param::page_size();
        let size = page * pages;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap(
                ptr::null_mut(),
                page + size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &event,
                0,
            )?
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            event,
            base,
            page,
            size,
        })
    }

    /// Appends all unread bytes to `out` and hands their room back to the kernel.
    pub fn take(&mut self, out: &mut Vec<u8>) -> Taken {
        let control = self.base.cast::<perf_event_mmap_page>().as_ptr();
        // SAFETY: the control page is mapped as long as `self` lives, and both counters are aligned
        // and only ever accessed atomically.
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*control).data_head),
                AtomicU64::from_ptr(&raw mut (*control).data_tail),
            )
        };
        // Pairs with the kernel's barrier between writing the records and publishing the head.
        let written = head.load(Ordering::Acquire);
        let read = tail.load(Ordering::Relaxed);
        let pieces = pieces(written, read, self.size);
        for piece in pieces.iter().flatten() {
            // SAFETY: `pieces` lie within the data pages, and the kernel does not write between
            // tail and head.
            out.extend_from_slice(unsafe {
                std::slice::from_raw_parts(
                    self.base.as_ptr().add(self.page + piece.start),
                    piece.len(),
                )
            });
        }
        // The reads above must be done before the kernel may overwrite what they read.
        tail.store(written, Ordering::Release);
        Taken::of(pieces.as_ref(), self.size)
    }
}

impl CpuEvent for Ring {
    fn progress(&self) -> std::io::Result<Progress> {
        read_progress(self.as_fd())
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.page + self.size) };
        debug_assert!(unmapped.is_ok());
    }
}
