//! Signals: those that the agent is told by, and those that wait while a thread must not be interrupted.

use std::io;
use std::mem::MaybeUninit;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the agent is told by; those of a kind that come before it is looked are one.
pub(super) struct Signals {
    pub(super) interrupt: Signal,
    pub(super) terminate: Signal,
    pub(super) hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Signals {
    /// A signal to stop.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Does `work` while signals for this thread wait; those for the process go to another thread, or wait too. Threads that
/// `work` starts take none.
pub(super) fn blocked<T>(work: impl FnOnce() -> T) -> T {
    /// Sets the mask back, also when `work` panics.
    struct Restore(libc::sigset_t);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set was initialized by the kernel.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
            };
        }
    }

    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initializes `all`, `pthread_sigmask` initializes `before`; neither fails with these
    // arguments.
    let _restore = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        // What the thread itself causes by an access to memory is not to wait.
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        Restore(before.assume_init())
    };
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> bool {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigpending` initializes the set.
        unsafe {
            assert_eq!(libc::sigpending(set.as_mut_ptr()), 0);
            libc::sigismember(set.as_ptr(), libc::SIGURG) == 1
        }
    }

    #[test]
    fn a_signal_waits_until_the_work_is_done() {
        let waited = blocked(|| {
            // SAFETY: SIGURG is ignored unless handled; blocked, it stays pending where it has a handler.
            unsafe {
                libc::signal(libc::SIGURG, handler as *const () as libc::sighandler_t);
                assert_eq!(libc::pthread_kill(libc::pthread_self(), libc::SIGURG), 0);
            }
            pending()
        });
        assert!(waited && !pending());
    }

    extern "C" fn handler(_: libc::c_int) {}
}
