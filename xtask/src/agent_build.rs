//! Builds the agent for a person who waits for it: cargo shows how far it is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, step};

/// The cargo profile that the agent is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For running from the source: built sooner than a release.
    Source,
    /// What is installed.
    Release,
}

impl Profile {
    /// Its name in the workspace's `Cargo.toml`, which is that of its directory below `target`.
    const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Release => "release",
        }
    }

    /// What is being built and what that takes, said before it begins.
    fn announcement(self) -> &'static str {
        match self {
            Self::Source => {
                "Building the agent and its libraries in the profile `source`, without what takes longest of a release. \
                 The first time takes minutes; cargo says how far it is. --release builds what `cargo xtask install` \
                 installs."
            }
            Self::Release => {
                "Building the agent and its libraries in release: many minutes the first time; cargo says how far it is."
            }
        }
    }

    fn command(self) -> Command {
        let mut build = cargo::command();
        build
            .args(["build", "--locked", "--package", "profiler-agent"])
            .args(["--profile", self.name()]);
        build
    }
}

/// Builds the agent and returns where the binary is. Cargo writes its progress to standard error.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    eprintln!("{}", profile.announcement());
    step::run(&mut profile.command())?;
    let directory = cargo::target_directory().join(profile.name());
    Ok(directory.join("profiler-agent"))
}

#[cfg(test)]
mod tests {
    use super::Profile;
    use crate::workspace;

    fn read(path: &str) -> toml::Table {
        let text = std::fs::read_to_string(workspace().join(path)).expect("the file is committed");
        text.parse().expect("it is TOML")
    }

    #[test]
    fn the_profile_for_running_from_the_source_leaves_out_what_takes_long() {
        let manifest = read("Cargo.toml");
        let profile = &manifest["profile"][Profile::Source.name()];
        assert_eq!(profile["lto"].as_str(), Some("off"));
        assert_eq!(profile["debug"].as_bool(), Some(false));
        assert_eq!(profile["opt-level"].as_integer(), Some(1));
        for checks in ["debug-assertions", "overflow-checks"] {
            assert!(profile.get(checks).is_none(), "{checks}");
        }
    }

    #[test]
    fn cargo_shows_its_progress() {
        let alias = read(".cargo/config.toml")["alias"]["xtask"].clone();
        let alias = alias.as_str().expect("the alias is one text");
        assert!(!alias.contains("quiet") && !alias.contains("-q"), "{alias}");
        let command = Profile::Source.command();
        let arguments: Vec<_> = command.get_args().collect();
        assert!(!arguments.contains(&"--quiet".as_ref()), "{arguments:?}");
    }
}
