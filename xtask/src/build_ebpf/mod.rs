//! Builds the eBPF objects: one per machine, stripped of debug information, committed with their
//! SHA-256 and the toolchain that they came from.
//!
//! The build does not depend on where it happens: paths are remapped, and the linker's temporary
//! names do not reach the object. `check` builds again and compares byte for byte. A build by another
//! toolchain cannot be compared; then the loader tests run on the rebuilt object instead.

mod linkage;
mod strip;
mod toolchain;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{step, workspace};
use toolchain::Toolchain;

/// The machines that the agent runs on.
const MACHINES: [&str; 2] = ["x86_64", "aarch64"];

/// `profiler-ebpf/object/toolchain.toml`: what the committed objects are and came from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Version line of the compiler.
    rustc: String,
    /// Version of LLVM that the linker used.
    llvm: String,
    /// Version of the linker.
    bpf_linker: String,
    /// SHA-256 of the object by file name.
    sha256: std::collections::BTreeMap<String, String>,
}

/// Builds the objects, or with `check` compares a fresh build with the committed ones.
pub(crate) fn run(check: bool) -> Result<()> {
    if check {
        return compare();
    }
    let toolchain = Toolchain::find(None)?;
    let mut sha256 = std::collections::BTreeMap::new();
    for machine in MACHINES {
        let object = build(&toolchain, machine)?;
        std::fs::write(object_directory().join(file_name(machine)), &object)?;
        sha256.insert(file_name(machine), digest(&object));
        println!("{}: {} bytes", file_name(machine), object.len());
    }
    let record = Record {
        rustc: toolchain.rustc_version.clone(),
        llvm: toolchain.llvm_version.clone(),
        bpf_linker: toolchain::LINKER_VERSION.to_owned(),
        sha256,
    };
    let text = format!(
        "# Written by `cargo xtask build-ebpf`.\n{}",
        toml::to_string(&record)?
    );
    std::fs::write(record_path(), text)?;
    Ok(())
}

fn compare() -> Result<()> {
    let record: Record = toml::from_str(
        &std::fs::read_to_string(record_path()).context("profiler-ebpf/object/toolchain.toml")?,
    )?;
    for machine in MACHINES {
        let committed = std::fs::read(object_directory().join(file_name(machine)))?;
        ensure!(
            record.sha256.get(&file_name(machine)) == Some(&digest(&committed)),
            "{} is not what toolchain.toml says: run `cargo xtask build-ebpf`",
            file_name(machine)
        );
    }
    let toolchain = Toolchain::find(Some(&record.rustc))?;
    let same = toolchain.rustc_version == record.rustc && toolchain.llvm_version == record.llvm;
    for machine in MACHINES {
        let built = build(&toolchain, machine)?;
        if same {
            ensure!(
                record.sha256.get(&file_name(machine)) == Some(&digest(&built)),
                "{} is not what its sources build to: run `cargo xtask build-ebpf` and commit",
                file_name(machine)
            );
            println!(
                "{}: byte for byte what its sources build to",
                file_name(machine)
            );
        } else {
            let path = workspace().join("target/ebpf").join(file_name(machine));
            std::fs::write(&path, &built)?;
            if machine == std::env::consts::ARCH {
                println!(
                    "built by {} (LLVM {}), not by {} (LLVM {}): not comparable, testing the rebuilt object",
                    toolchain.rustc_version, toolchain.llvm_version, record.rustc, record.llvm
                );
                test_object(&path)?;
            }
        }
    }
    Ok(())
}

/// Runs the loader tests on another object than the one that the agent includes.
fn test_object(object: &Path) -> Result<()> {
    step::run(
        Command::new(env!("CARGO"))
            .current_dir(workspace())
            .args([
                "test",
                "--package",
                "profiler-agent",
                "--test",
                "kernel",
                "--locked",
            ])
            .args(["--", "--test-threads=1"])
            .env("PROFILER_EBPF_OBJECT", object),
    )
}

/// The stripped object for `machine`.
fn build(toolchain: &Toolchain, machine: &str) -> Result<Vec<u8>> {
    let source = workspace().join("profiler-ebpf");
    // One for all machines, whose flags are the same: the standard library is compiled once.
    let target = workspace().join("target/ebpf/build");
    let home = cargo_home()?;
    let mut flags = vec![
        "-Clinker=bpf-linker".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Cdebuginfo=2".to_owned(),
    ];
    let mut remapped = vec![
        (workspace(), "/source"),
        (home.clone(), "/cargo"),
        (toolchain.sysroot.clone(), "/rust"),
    ];
    // The directory below is named after where crates come from: a mirror has another name.
    let sources = std::fs::read_dir(home.join("registry/src"));
    let sources = sources.into_iter().flatten().flatten();
    remapped.extend(sources.map(|directory| (directory.path(), "/crates")));
    // The last one that fits is the one that counts.
    for (from, to) in remapped {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    let linker_directory = toolchain
        .linker
        .parent()
        .context("the linker has a directory")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        std::iter::once(linker_directory.to_path_buf()).chain(std::env::split_paths(&path)),
    )?;
    step::run(
        Command::new(&toolchain.cargo)
            .current_dir(&source)
            .args([
                "build",
                "--release",
                "--locked",
                "--quiet",
                "-Zbuild-std=core",
            ])
            .args(["--target", "bpfel-unknown-none"])
            .arg("--target-dir")
            .arg(&target)
            .env("PATH", path)
            .env("RUSTC", &toolchain.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("AYA_BPF_TARGET_ARCH", machine)
            .env("LD_LIBRARY_PATH", &toolchain.llvm_directory)
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO"),
    )?;
    let object = std::fs::read(target.join("bpfel-unknown-none/release/profiler"))?;
    strip::debug_information(&object)
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let Some(home) = std::env::var_os("HOME") else {
        bail!("HOME is not set");
    };
    Ok(Path::new(&home).join(".cargo"))
}

fn object_directory() -> PathBuf {
    workspace().join("profiler-ebpf/object")
}

fn record_path() -> PathBuf {
    object_directory().join("toolchain.toml")
}

fn file_name(machine: &str) -> String {
    format!("profiler-{machine}.bpf.o")
}

fn digest(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
