//! Builds the release and installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::agent_build::{self, Profile};
use crate::{prerequisite, step};

/// Where to install.
#[derive(Args)]
pub(crate) struct Options {
    /// The directory below which `bin/profiler-agent` is installed.
    #[arg(
        long,
        visible_alias = "root",
        value_name = "DIR",
        default_value = "/usr/local"
    )]
    prefix: PathBuf,
}

/// Builds the release, installs it below the prefix and says where.
pub(crate) fn run(options: &Options) -> Result<()> {
    let prefix = std::path::absolute(&options.prefix)
        .with_context(|| format!("{}", options.prefix.display()))?;
    let target = target(&prefix)?;
    let is_allowed = prerequisite::is_root()? || is_writable(&prefix.join("bin"));
    if !is_allowed {
        // Before the build, which takes many minutes.
        prerequisite::ensure_sudo(&prefix.display().to_string())?;
    }
    let agent = agent_build::build(Profile::Release)?;
    if !is_allowed {
        eprintln!("{} needs root: asking for it by sudo.", prefix.display());
    }
    install(&agent, &target, is_allowed)?;
    println!("Installed {}.", target.display());
    Ok(())
}

/// Where the binary is to be; an error where a directory is.
fn target(prefix: &Path) -> Result<PathBuf> {
    let target = prefix.join("bin/profiler-agent");
    ensure!(
        !target.is_dir(),
        "cannot install {}: it is a directory; remove it or choose another --prefix",
        target.display()
    );
    Ok(target)
}

/// Puts the binary where it is to be, in directories that are made; a binary that runs is replaced, not overwritten.
fn install(agent: &Path, target: &Path, is_allowed: bool) -> Result<()> {
    let mut command = if is_allowed {
        Command::new("install")
    } else {
        let mut command = Command::new("sudo");
        command.args(["--", "install"]);
        command
    };
    // Never into a directory that somebody makes there meanwhile.
    command.args(["-D", "-T", "-m", "755", "--"]);
    step::run(command.arg(agent).arg(target))
}

/// Whether this user may make files in the directory, or in the nearest one above it that exists.
fn is_writable(directory: &Path) -> bool {
    let existing = directory.ancestors().find(|directory| directory.exists());
    existing.is_some_and(|directory| {
        let mut test = Command::new("test");
        let status = test.arg("-w").arg(directory).status();
        status.is_ok_and(|status| status.success())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_binary_is_installed_below_the_prefix_and_replaces_one_that_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let prefix = directory.path().join("new/prefix");
        assert!(is_writable(&prefix.join("bin")));
        let program = Path::new("/bin/sleep");
        let installed = target(&prefix).expect("there is nothing");
        assert_eq!(installed, prefix.join("bin/profiler-agent"));
        install(program, &installed, true).expect("it is installed");
        let mut running = Command::new(&installed).arg("60").spawn().expect("it runs");
        let again = install(Path::new("/bin/true"), &installed, true);
        running.kill().expect("it ran until now");
        running.wait().expect("it ended");
        again.expect("it is replaced");
        let content = |path: &Path| std::fs::read(path).expect("a file");
        assert!(content(&installed) == content(Path::new("/bin/true")));
        let mode = installed
            .metadata()
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn nothing_is_installed_into_a_directory_of_the_binary_s_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("bin/profiler-agent");
        std::fs::create_dir_all(&path).expect("it is made");
        let refused = target(directory.path()).expect_err("it is a directory");
        let expected = "profiler-agent: it is a directory; remove it or choose another --prefix";
        assert!(refused.to_string().ends_with(expected), "{refused}");
        // Nor where it is made in between.
        install(Path::new("/bin/true"), &path, true).expect_err("it is a directory");
        let entries = std::fs::read_dir(&path).expect("it is there");
        assert_eq!(entries.count(), 0);
    }
}
