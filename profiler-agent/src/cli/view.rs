//! `profiler-agent view`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::exit::{self, fail};
use crate::app::view;
use crate::telemetry::log;

/// The command line of `view`.
#[derive(Args)]
pub(super) struct Arguments {
    /// Profiles: pprof (.pb.gz) or OTLP (.otlp).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Address and port of the page; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    log::to_terminal(log::LogLevel::Warn);
    let ready = |address| eprintln!("the page is on http://{address}/ (Ctrl-C ends it)");
    match view::run(&arguments.files, arguments.listen, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(exit::FAILED, &error),
    }
}
