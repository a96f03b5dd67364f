//! The commands, one file each, and what their exit codes mean.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic where nobody reads any more, and write what commands a terminal: see `terminal`"
)]

mod agent;
mod check;
mod doctor;
#[cfg(test)]
mod documented;
mod duration;
mod exit;
mod progress;
mod record;
mod summary;
mod terminal;
mod version;
mod view;

use std::fmt::Display;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

/// Continuous profiler for Linux: samples stacks with eBPF, names them, shows them and ships them.
#[derive(Parser)]
#[command(
    name = "profiler-agent",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Records a profile of the machine, of processes or of a command into a file.
    Record(record::Arguments),
    /// Profiles the machine continuously: a local store and a page on 127.0.0.1:4099.
    ///
    /// With OTEL_EXPORTER_OTLP_ENDPOINT set it also exports every window as OTLP profiles.
    Agent(agent::Arguments),
    /// Says what is wrong with a configuration file, with line and column, or that it is right.
    Check(check::Arguments),
    /// Says what this host offers: every way to walk stacks is tried, and every line is ok, degraded or missing.
    Doctor(doctor::Arguments),
    /// Shows saved profiles on the page.
    View(view::Arguments),
}

/// What may have been meant by a word that no command takes: `record sleep 1`.
fn hint(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_record = std::env::args_os().nth(1)? == "record";
    (is_record && !word.starts_with('-')).then(|| {
        format!(
            "To record a command, write it behind two dashes: profiler-agent record -- {word} .."
        )
    })
}

fn printed(text: impl Display) -> ExitCode {
    match terminal::print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            return printed(version::text());
        }
        Err(error) if !error.use_stderr() => return printed(error.render()),
        Err(error) => {
            terminal::say(error.render());
            if let Some(hint) = hint(&error) {
                terminal::say_line(hint);
            }
            return exit::USAGE.into();
        }
    };
    crate::telemetry::memory::keep_small();
    match arguments.command {
        Command::Record(arguments) => record::run(&arguments),
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::View(arguments) => view::run(&arguments),
    }
}
