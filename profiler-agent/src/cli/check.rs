//! `profiler-agent check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{exit, terminal};
use crate::config::AgentConfig;
use crate::profile::plain::plain;

/// The command line of `check`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Prints the configuration that is in effect, with all defaults and without secrets.
    #[arg(long)]
    print: bool,
    /// Does not read the files that the configuration names (tokens, headers, certificates), for a machine without them.
    #[arg(long)]
    without_files: bool,
}

/// Runs the command: everything that is wrong, or where profiles would go.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let path = &arguments.config;
    let config = match arguments.without_files {
        true => AgentConfig::read(path, &environment),
        false => AgentConfig::read_with_files(path, &environment),
    };
    let config = match config {
        Ok(config) => config,
        Err(error) => return exit::fail_config(&error),
    };
    let printed = match arguments.print {
        true => terminal::print(config.show()),
        false => terminal::print(plain(&verdict(&config, path))),
    };
    printed.err().unwrap_or(ExitCode::SUCCESS)
}

/// Where profiles would go.
fn verdict(config: &AgentConfig, path: &Path) -> String {
    let names: Vec<&str> = config.exporters.keys().map(String::as_str).collect();
    let exporters = if names.is_empty() {
        "no exporters".to_owned()
    } else {
        format!("exporters: {}", names.join(", "))
    };
    format!("{}: right; {exporters}", path.display())
}
