//! Exit codes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

/// It failed.
pub(super) const FAILED: u8 = 1;
/// The command line is wrong.
pub(super) const USAGE: u8 = 2;
/// A privilege is missing.
pub(super) const PRIVILEGE: u8 = 77;
/// The command to record cannot be executed, and was not found: as shells have it.
pub(super) const NOT_EXECUTABLE: u8 = 126;
/// See [`NOT_EXECUTABLE`].
pub(super) const NOT_FOUND: u8 = 127;

/// The code that passes a command's status on: its own, or 128 + the signal that ended it, as
/// shells have it.
pub(super) fn of_status(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128u8.wrapping_add(signal as u8),
        (None, None) => FAILED,
    }
}

/// Says what is wrong and gives the exit code.
pub(super) fn fail(code: u8, problem: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("profiler-agent: {problem}");
    code.into()
}
