//! What commands print: the one place that writes to standard output and standard error.
//!
//! Names of processes, functions and files are in what is printed, and none of them commands the terminal ([`plain`]). A
//! reader that is gone (`| head -1`) is an error of what goes to standard output, and no matter for what a person is told
//! beside it.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::exit::{self, fail};
use crate::profile::plain::{plain, plain_lines};

/// Prints lines on standard output, all of them.
///
/// # Errors
/// The exit code, where they could not be written; that is said.
pub(super) fn print(lines: impl Display) -> Result<(), ExitCode> {
    let mut text = plain_lines(&lines.to_string()).into_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    print_bytes(text.as_bytes()).map_err(|error| {
        let problem = format!("cannot write to standard output: {error}");
        fail(exit::FAILED, &problem)
    })
}

/// Writes bytes to standard output, all of them: what stays in its buffer would get lost in silence.
///
/// # Errors
/// What the kernel says, such as that nobody reads a pipe any more.
pub(super) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()
}

/// Says lines on standard error. One that is gone does not matter.
pub(super) fn say(lines: impl Display) {
    let text = lines.to_string();
    let text = plain_lines(text.trim_end_matches('\n'));
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says one line on standard error, whatever is in it.
pub(super) fn say_line(line: impl Display) {
    say(plain(&line.to_string()));
}

/// Shows a line on standard error in the place of the one before. It stays until the next.
pub(super) fn show(line: &str) {
    let mut error = io::stderr().lock();
    let _ = write!(error, "\r\x1b[K{}", plain(line));
    let _ = error.flush();
}
