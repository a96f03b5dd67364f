//! What can go wrong at the kernel boundary, each with its fix.

use std::io;

/// Sampling cannot start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
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
    /// The kernel refused a program.
    #[error("the kernel refused the program `{program}`: {reason}")]
    Program {
        /// The program's name.
        program: &'static str,
        /// The error with the end of the verifier's log.
        reason: String,
    },
    /// A map could not be made or used.
    #[error("map `{map}`: {source}")]
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
    pub const fn is_privilege(&self) -> bool {
        matches!(self, Self::Privilege { .. })
    }
}
