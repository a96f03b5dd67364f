//! `cargo xtask generate`: Rust types from `proto/`, committed so that a build needs no generator, and README's table of
//! kernels.
//!
//! What reads `proto/` takes as long to build as all the rest of this program: it is there with the feature `generate`, with which
//! the command runs itself.

#[cfg(feature = "generate")]
mod messages;

use anyhow::Result;

use crate::{kernels, workspace};

/// Writes the types from `proto/`, and the table.
pub(crate) fn run() -> Result<()> {
    messages()?;
    kernels::table::generate(&workspace())
}

#[cfg(feature = "generate")]
fn messages() -> Result<()> {
    messages::write(&workspace())
}

/// Runs the command with what it needs; that the table is written too changes nothing.
#[cfg(not(feature = "generate"))]
fn messages() -> Result<()> {
    let mut again = std::process::Command::new(env!("CARGO"));
    again
        .current_dir(workspace())
        .args(["run", "--quiet", "--locked", "--package", "xtask"])
        .args(["--features", "generate", "--", "generate"]);
    crate::step::run(&mut again)
}
