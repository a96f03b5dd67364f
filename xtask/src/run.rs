//! Builds what is missing and becomes the agent.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::agent_build::{self, Profile};
use crate::prerequisite;

/// Which agent to start, and what to hand on to it.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs the release, which takes minutes longer to build.
    #[arg(long)]
    release: bool,
    /// Arguments for `profiler-agent agent`.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// Where the agent's embedded default has its page.
const ADDRESS: &str = "http://127.0.0.1:4099/";

/// Builds the agent and replaces this process by it, as root.
pub(crate) fn run(options: &Options) -> Result<()> {
    let profile = match options.release {
        true => Profile::Release,
        false => Profile::Source,
    };
    let is_root = prerequisite::is_root()?;
    if !is_root {
        // Before the build, which takes minutes.
        prerequisite::ensure_sudo("profiling the whole machine")?;
    }
    let agent = agent_build::build(profile)?;
    println!("{}", built(&agent, !options.arguments.is_empty()));
    let mut command = if is_root {
        Command::new(&agent)
    } else {
        eprintln!("Profiling the whole machine needs root: asking for it by sudo.");
        let mut command = Command::new("sudo");
        command.arg("--").arg(&agent);
        command
    };
    command.arg("agent").args(&options.arguments);
    // The agent takes this process's place, so that signals reach it and nothing in between.
    Err(command.exec()).with_context(|| format!("cannot start {}", agent.display()))
}

/// Where the binary is, how it is installed, and where its page will be unless the agent has `own_arguments`.
fn built(agent: &Path, own_arguments: bool) -> String {
    let mut text = format!(
        "The binary is {}; `cargo xtask install` builds the release and installs it.",
        agent.display()
    );
    if !own_arguments {
        text.push_str(&format!(
            "\nThe page will be on {ADDRESS} (Ctrl-C stops the agent)."
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_and_the_page_are_named() {
        let text = built(Path::new("/src/target/source/profiler-agent"), false);
        for part in [
            "/src/target/source/profiler-agent",
            "cargo xtask install",
            ADDRESS,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // What configuration the arguments name decides where the page is.
        assert!(!built(Path::new("/a"), true).contains(ADDRESS));
    }
}
