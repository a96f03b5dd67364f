//! What the collector waits for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

/// An event counter: cloned handles wake the same thread.
#[derive(Clone, Debug)]
pub(super) struct Wake(Arc<OwnedFd>);

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(event)))
    }
    /// Makes the descriptor readable. Cannot fail but for a full counter, and then it is readable.
    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
    /// Makes the descriptor unreadable again.
    pub(super) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why a wait ended, beside its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Woken {
    /// A ring fills up.
    pub(super) ring: bool,
    /// The side-band has records.
    pub(super) sideband: bool,
}

/// Waits for descriptors. Edge-triggered: a ring is readable as soon as one sample is in it, but
/// the kernel side wakes only when it fills up.
pub(super) struct Waiter {
    epoll: OwnedFd,
}

/// What kind of descriptor it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Wake = 0,
    Ring = 1,
    Sideband = 2,
}

impl Waiter {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Waits for `descriptor` too, from now on. A closed descriptor leaves by itself.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, kind: Kind) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(kind as u64);
        match epoll::add(&self.epoll, descriptor, data, flags) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until something happens, at most `at_most`.
    pub(super) fn wait(&self, at_most: Duration) -> io::Result<Woken> {
        let timeout = Timespec {
            tv_sec: at_most.as_secs() as i64,
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        let mut events = Vec::with_capacity(64);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut woken = Woken::default();
        for event in &events {
            let kind = event.data.u64();
            woken.ring |= kind == Kind::Ring as u64;
            woken.sideband |= kind == Kind::Sideband as u64;
        }
        Ok(woken)
    }
}
