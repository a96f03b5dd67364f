//! Rust types from `proto/`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A file of messages, the types made of it, and what the types are.
const GENERATED: [(&str, &str, &str); 2] = [
    (
        "proto/profile.proto",
        "profiler-agent/src/export/pprof/generated.rs",
        "Messages of pprof's `profile.proto`",
    ),
    (
        "proto/push.proto",
        "profiler-agent/src/export/pyroscope/generated.rs",
        "Messages of Pyroscope's push API (`proto/push.proto`)",
    ),
];

/// Writes the types.
pub(super) fn write(root: &Path) -> Result<()> {
    for (proto, path, what) in GENERATED {
        let code = generate(root, proto)?;
        let path = root.join(path);
        let text = format!("//! {what}. Written by `cargo xtask generate`: do not edit.\n\n{code}");
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn generate(root: &Path, proto: &str) -> Result<String> {
    let descriptors = protox::compile([root.join(proto)], [root.join("proto")])
        .with_context(|| format!("compile {proto}"))?;
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
    ensure!(modules.len() == 1, "{proto} holds one package");
    modules.into_values().next().context("one module")
}
