//! Exit codes.

use std::fmt::Display;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use super::terminal;
use crate::config::ConfigError;

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

/// Says what is wrong, in one line, and gives the exit code.
pub(super) fn fail(code: u8, problem: &dyn Display) -> ExitCode {
    terminal::say_line(format_args!("profiler-agent: {problem}"));
    code.into()
}

/// Says all that is wrong with a configuration, a line each, and gives the exit code.
pub(super) fn fail_config(error: &ConfigError) -> ExitCode {
    let ConfigError::Wrong { path, problems } = error else {
        return fail(USAGE, error);
    };
    for problem in problems {
        terminal::say_line(format_args!(
            "profiler-agent: {}: {problem}",
            path.display()
        ));
    }
    USAGE.into()
}
