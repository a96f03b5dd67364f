//! `profiler-agent view`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::exit::{self, fail};
use super::terminal;
use crate::app::view::{self, Access};
use crate::telemetry::log;

/// The command line of `view`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Profiles: pprof, OTLP (protobuf or JSON), collapsed stacks or the output of `perf script`, told by their content. Files
    /// or pipes; - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Address and port of the page; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// File with the token that the page asks for.
    #[arg(long, value_name = "FILE", conflicts_with = "allow_unauthenticated")]
    token_file: Option<PathBuf>,
    /// Show the profiles to everybody who reaches the address, not to this user and root alone.
    #[arg(long)]
    allow_unauthenticated: bool,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    log::to_terminal(log::LogLevel::Warn);
    let is_open = arguments.token_file.is_none() && !arguments.allow_unauthenticated;
    if is_open && !arguments.listen.ip().is_loopback() {
        let fix = "everybody who reaches this address could see the profiles: give --token-file a file with a token \
                   (`openssl rand -hex 32`), or --allow-unauthenticated";
        return fail(
            exit::USAGE,
            &format!("--listen {}: {fix}", arguments.listen),
        );
    }
    let access = match &arguments.token_file {
        Some(file) => Access::Token(file),
        None if arguments.allow_unauthenticated => Access::Everybody,
        None => Access::Users,
    };
    let ready = |address| {
        terminal::say(format_args!(
            "the page is on http://{address}/ (Ctrl-C ends it)"
        ));
    };
    let note =
        |file: &Path, text: &str| terminal::say_line(format_args!("{}: {text}", file.display()));
    match view::run(&arguments.files, arguments.listen, access, note, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit::FAILED, &error),
    }
}
