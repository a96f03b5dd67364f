//! Builds what is missing and becomes the agent.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::{prerequisite, step, workspace};

/// What to hand on.
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments for `profiler-agent agent`.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Where the agent's embedded default has its page.
const ADDRESS: &str = "http://127.0.0.1:4099/";

/// Builds the agent in release and replaces this process by it, as root.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--release", "--package", "profiler-agent"])
        .current_dir(workspace());
    step::run(&mut build)?;
    let agent = workspace().join("target/release/profiler-agent");
    let mut command = if prerequisite::is_root()? {
        Command::new(&agent)
    } else {
        eprintln!("Profiling the whole machine needs root: asking for it by sudo.");
        let mut command = Command::new("sudo");
        command.arg("--").arg(&agent);
        command
    };
    command.arg("agent").args(&options.arguments);
    if options.arguments.is_empty() {
        println!("The page will be on {ADDRESS} (Ctrl-C stops the agent).");
    }
    // The agent takes this process's place, so that signals reach it and nothing in between.
    Err(command.exec()).with_context(|| format!("cannot start {}", agent.display()))
}
