//! What can go wrong at the kernel boundary: what failed, on what, why, and the fix.
//!
//! - [`explain`] makes a [`Refusal`] of an attempt, of what the kernel said to it, and of what is known of the
//!   machine ([`Host`]); it is pure, and every sentence is checked by a table of examples.
//! - [`capability`] knows what each capability is for.
//! - `feature` reads the verifier's logs; `permission` tells apart what the kernel calls "not permitted".

mod attempt;
pub mod capability;
mod explain;
mod feature;
mod host;
mod permission;

use std::error::Error;
use std::io;

pub use attempt::Attempt;
pub use explain::{Cause, Failure, MORE_FILES, Refusal, explain};
pub use host::{Host, Lockdown};

/// Sampling cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Something was refused, and why is known, or not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A privilege is missing.
    #[error("{what}: {source}. {fix}")]
    Privilege {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What helps.
        fix: String,
    },
    /// The kernel lacks something that the programs need.
    #[error("this kernel cannot run the profiler: {missing}. {fix}")]
    Kernel {
        /// What it lacks.
        missing: String,
        /// What helps.
        fix: &'static str,
    },
    /// The kernel lacks something that time off CPU needs: without that it can be profiled.
    #[error(
        "this kernel cannot tell how long threads are off CPU: {missing}. Leave off-CPU profiling out."
    )]
    OffCpu {
        /// What it lacks.
        missing: String,
    },
    /// A map could not be made or used.
    #[error("map `{map}`: {}", chain(source))]
    Map {
        /// The map's name.
        map: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// Another system call failed.
    #[error("{call}: {source}")]
    System {
        /// The call.
        call: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl CollectError {
    /// Is it a missing privilege (exit code 77)?
    #[must_use]
    pub fn is_privilege(&self) -> bool {
        match self {
            Self::Privilege { .. } => true,
            Self::Refused(refusal) => refusal.cause == Cause::Privilege,
            Self::Kernel { .. } | Self::OffCpu { .. } | Self::Map { .. } | Self::System { .. } => {
                false
            }
        }
    }

    /// The error of `attempt`, which said `error`, explained by what is known of this machine.
    #[must_use]
    pub fn explained(attempt: Attempt<'_>, error: &(dyn Error + 'static)) -> Self {
        Self::Refused(Refusal::of(attempt, error))
    }
}

impl Refusal {
    /// What `attempt`, which said `error`, comes to on this machine.
    #[must_use]
    pub fn of(attempt: Attempt<'_>, error: &(dyn Error + 'static)) -> Self {
        let text = chain(error);
        let failure = Failure {
            errno: errno_of(error),
            text: &text,
        };
        explain(attempt, failure, &Host::read())
    }

    /// The system call, why it failed, and what to do: without what was tried, so that it is the same for every CPU.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{}: {}. {}", self.call, self.why, self.fix)
    }
}

/// The number of the system call's error that is in the chain of causes.
#[must_use]
pub fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(errno) = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return Some(errno);
        }
        current = error.source();
    }
    None
}

/// An error with all its causes, in one line; a cause that its error's text ends with is not repeated.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut current = error.source();
    while let Some(error) = current {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        current = error.source();
    }
    text
}

/// Attempts of [`again`].
const ATTEMPTS: usize = 30;

/// Does `attempt` again as long as a signal interrupts it: the verifier gives a program up with `EAGAIN` when a signal is
/// pending, and begins anew when it is asked again.
///
/// # Errors
/// The last one: another than `EAGAIN` and `EINTR`, or one of those thirty times.
pub fn again<T, E: Error + 'static>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut attempts = 1;
    loop {
        match attempt() {
            Err(error)
                if attempts < ATTEMPTS
                    && matches!(errno_of(&error), Some(libc::EAGAIN | libc::EINTR)) =>
            {
                attempts += 1;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
