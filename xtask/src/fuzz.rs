//! The fuzz targets compile on stable: running them needs a nightly compiler, knowing that they still
//! fit the agent does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{step, workspace};

/// Checks `profiler-agent/fuzz`, a workspace of its own, against the agent as it is.
pub(crate) fn check() -> Result<()> {
    let directory = workspace().join("profiler-agent/fuzz");
    follow_lock(
        &workspace().join("Cargo.lock"),
        &directory.join("Cargo.lock"),
    )?;
    step::run(
        Command::new(env!("CARGO"))
            .args(["check", "--bins", "--target-dir"])
            .arg(workspace().join("target/fuzz"))
            .env("RUSTFLAGS", "--cfg fuzzing -Dwarnings")
            .current_dir(directory),
    )
}

/// Lets the targets' lock file, which is nobody's record, start from the versions that the agent is
/// built with: cargo keeps them and adds what only the targets need.
fn follow_lock(agents: &Path, targets: &Path) -> Result<()> {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let leads = modified(agents).with_context(|| agents.display().to_string())?;
    if modified(targets).is_ok_and(|own| own >= leads) {
        return Ok(());
    }
    fs::copy(agents, targets).with_context(|| targets.display().to_string())?;
    Ok(())
}
