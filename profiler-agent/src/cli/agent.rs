//! `profiler-agent agent`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::exit::{self, fail};
use crate::app::agent::{self, AgentError, Settings};
use crate::collect::limits;
use crate::config::AgentConfig;
use crate::telemetry::log;

/// The command line of `agent`.
#[derive(Args)]
pub(super) struct Arguments {
    /// A configuration file (YAML); without it the embedded default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let read = || {
        let path = arguments.config.as_deref()?;
        Some(AgentConfig::read(path, &environment))
    };
    let config = match read() {
        None => AgentConfig::default(),
        Some(Ok(config)) => config,
        Some(Err(error)) => return exit::fail_config(&error),
    };
    let ready = |address| {
        log::say(&format!(
            "profiling this machine; its page is on http://{address}/"
        ));
    };
    // The store of an agent that cannot run is not touched.
    if let Err(error) = limits::require_privilege() {
        return fail(exit::PRIVILEGE, &error);
    }
    let settings = Settings {
        config,
        reread: &read,
        environment: &environment,
    };
    let ended = agent::run(&settings, ready);
    log::finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(code_of(&error), &error),
    }
}

fn code_of(error: &AgentError) -> u8 {
    match error {
        AgentError::Collector(error) if error.is_privilege() => exit::PRIVILEGE,
        AgentError::Export(_) | AgentError::OwnSignals(_) => exit::USAGE,
        _ => exit::FAILED,
    }
}
