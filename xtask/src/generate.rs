//! `cargo xtask generate`: Rust types from `proto/`, committed so that a build needs no generator.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

const PROTO: &str = "proto/profile.proto";
const GENERATED: &str = "profiler-agent/src/export/pprof/generated.rs";
const HEADER: &str =
    "//! Messages of pprof's `profile.proto`. Written by `cargo xtask generate`: do not edit.\n\n";

/// Writes `profiler-agent/src/export/pprof/generated.rs` from `proto/profile.proto`. Paths are
/// relative to the workspace, wherever it is called from.
pub fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace")?;
    let generated = generate(root)?;
    let path = root.join(GENERATED);
    fs::write(&path, generated).with_context(|| format!("write {}", path.display()))
}

fn generate(root: &Path) -> Result<String> {
    let descriptors = protox::compile([root.join(PROTO)], [root.join("proto")])
        .with_context(|| format!("compile {PROTO}"))?;
    let request: Vec<_> = descriptors
        .file
        .into_iter()
        .map(|file| {
            (
                prost_build::Module::from_protobuf_package_name(file.package()),
                file,
            )
        })
        .collect();
    let modules = prost_build::Config::new()
        .generate(request)
        .context("generate Rust types")?;
    ensure!(modules.len() == 1, "{PROTO} holds one package");
    let code = modules.into_values().next().context("one module")?;
    Ok(format!("{HEADER}{code}"))
}
