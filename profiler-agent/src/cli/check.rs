//! `profiler-agent check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::exit::{self, fail};
use crate::config::AgentConfig;

/// The command line of `check`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Prints the configuration that is in effect, with all defaults and without secrets.
    #[arg(long)]
    print: bool,
}

/// Runs the command: everything that is wrong, or where profiles would go.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match AgentConfig::read(&arguments.config, &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(error) => return fail(exit::USAGE, &error),
    };
    if arguments.print {
        print!("{}", config.show());
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = config.exporters.keys().map(String::as_str).collect();
    let exporters = if names.is_empty() {
        "no exporters".to_owned()
    } else {
        format!("exporters: {}", names.join(", "))
    };
    println!("{}: right; {exporters}", arguments.config.display());
    ExitCode::SUCCESS
}
