//! `cargo xtask generate`: Rust types from `proto/`, committed so that a build needs no generator, the tables of
//! kernels, and `docs/glossary.md`.
//!
//! What reads `proto/` takes as long to build as all the rest of this program: it is there with the feature `generate`, with which
//! the command runs itself.

#[cfg(feature = "generate")]
mod messages;

use anyhow::Result;

use crate::{cargo, kernels, workspace};

/// Writes the types from `proto/`, the table and the glossary.
pub(crate) fn run() -> Result<()> {
    messages()?;
    kernels::table::generate(&workspace())?;
    glossary()
}

/// The agent's code has the texts: its own test that compares them with the file writes it.
fn glossary() -> Result<()> {
    let mut test = cargo::command();
    test.args(["test", "--quiet", "--locked", "--profile", "tested"])
        .args(["--package", "profiler-agent", "--lib"])
        .args(["--", "profile::glossary::the_glossary_is_that_of_the_code"])
        .env("PROFILER_WRITE_GLOSSARY", "1");
    crate::step::run(&mut test)
}

#[cfg(feature = "generate")]
fn messages() -> Result<()> {
    messages::write(&workspace())
}

/// Runs the command with what it needs; that the table is written too changes nothing.
#[cfg(not(feature = "generate"))]
fn messages() -> Result<()> {
    let mut again = cargo::command();
    again
        .args(["run", "--quiet", "--locked", "--package", "xtask"])
        .args(["--features", "generate", "--", "generate"]);
    crate::step::run(&mut again)
}
