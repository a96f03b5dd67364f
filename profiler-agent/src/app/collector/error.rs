//! Why the collector does not run.

use std::io;

use crate::collect::CollectError;
use crate::collect::error::{Cause, errno_of};

/// Why the collector cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The kernel boundary.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// Another system call.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl CollectorError {
    /// Did a signal interrupt it each time that it was tried?
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        match self {
            Self::Collect(CollectError::Refused(refusal)) => refusal.cause == Cause::Interrupted,
            Self::Collect(error) => is_interruption(errno_of(error)),
            Self::System { source, .. } => is_interruption(source.raw_os_error()),
        }
    }

    /// Is it a missing privilege?
    #[must_use]
    pub fn is_privilege(&self) -> bool {
        match self {
            Self::Collect(error) => error.is_privilege(),
            Self::System { .. } => false,
        }
    }
}

const fn is_interruption(errno: Option<i32>) -> bool {
    matches!(errno, Some(libc::EAGAIN | libc::EINTR))
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> CollectorError {
    move |source| CollectorError::System { what, source }
}
