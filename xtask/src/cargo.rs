//! Cargo as this program runs it: in the workspace's directory, building where the cargo builds that started this program.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// Where cargo is told to build.
const VARIABLE: &str = "CARGO_TARGET_DIR";

/// Cargo in the workspace's directory. A relative [`VARIABLE`] is relative to where this program was started.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace());
    if env::var_os(VARIABLE).is_some() {
        command.env(VARIABLE, target_directory());
    }
    command
}

/// The directory that cargo builds in.
pub(crate) fn target_directory() -> PathBuf {
    // Cargo starts nothing from a directory that is gone.
    let current = env::current_dir().unwrap_or_else(|_| workspace());
    resolved(env::var_os(VARIABLE).as_deref(), &current, &workspace())
}

fn resolved(variable: Option<&OsStr>, current: &Path, workspace: &Path) -> PathBuf {
    variable.map_or_else(|| workspace.join("target"), |path| current.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_directory_is_relative_to_where_the_program_was_started() {
        let resolved = |variable: Option<&str>| {
            let variable = variable.map(OsStr::new);
            resolved(
                variable,
                Path::new("/home/user/source/tests"),
                Path::new("/home/user/source"),
            )
        };
        assert_eq!(resolved(None), Path::new("/home/user/source/target"));
        assert_eq!(
            resolved(Some("built")),
            Path::new("/home/user/source/tests/built")
        );
        assert_eq!(resolved(Some("/tmp/built")), Path::new("/tmp/built"));
    }
}
