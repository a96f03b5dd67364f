//! Writes the sources that are generated.

use anyhow::{Result, bail};

/// Writes every generated source.
pub(crate) fn run() -> Result<()> {
    bail!("this tree has no generated sources yet")
}
