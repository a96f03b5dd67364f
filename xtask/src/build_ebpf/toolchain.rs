//! What builds the eBPF side: a compiler with the sources of its standard library, LLVM, bpf-linker.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{step, workspace};

/// The last version of the linker that installs with nothing but a Rust toolchain.
pub(super) const LINKER_VERSION: &str = "0.10.4";

/// A complete toolchain.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) rustc: PathBuf,
    pub(super) cargo: PathBuf,
    pub(super) sysroot: PathBuf,
    /// `1.96.0 (ac68faa20 2026-05-25)`.
    pub(super) rustc_version: String,
    pub(super) llvm_version: String,
    /// Where the linker finds LLVM's library.
    pub(super) llvm_directory: PathBuf,
    pub(super) linker: PathBuf,
}

struct Compiler {
    rustc: PathBuf,
    cargo: PathBuf,
    sysroot: PathBuf,
    version: String,
    llvm: String,
}

impl Toolchain {
    /// The toolchain whose compiler is of the `wanted` version if there is one, else the first of:
    /// rustup's nightly with its sources, Debian's.
    pub(super) fn find(wanted: Option<&str>) -> Result<Self> {
        let mut compilers: Vec<Compiler> = [nightly(), debian()].into_iter().flatten().collect();
        if let Some(at) = compilers
            .iter()
            .position(|compiler| Some(compiler.version.as_str()) == wanted)
        {
            compilers.swap(0, at);
        }
        let Some(compiler) = compilers.into_iter().next() else {
            bail!(
                "missing: a Rust compiler with the sources of its standard library (any distribution: \
                 rustup toolchain install nightly --component rust-src; \
                 Debian: sudo apt-get install rustc-web cargo-web rust-web-src)"
            );
        };
        let llvm_directory = llvm_directory(&compiler)?;
        Ok(Self {
            linker: linker()?,
            rustc_version: compiler.version,
            llvm_version: compiler.llvm,
            rustc: compiler.rustc,
            cargo: compiler.cargo,
            sysroot: compiler.sysroot,
            llvm_directory,
        })
    }
}

fn nightly() -> Option<Compiler> {
    let output = Command::new("rustup")
        .args(["which", "--toolchain", "nightly", "rustc"])
        .output()
        .ok()?;
    let rustc = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let cargo = rustc.with_file_name("cargo");
    compiler(rustc, cargo)
}

fn debian() -> Option<Compiler> {
    compiler("/usr/bin/rustc".into(), "/usr/bin/cargo".into())
}

/// The compiler at `rustc`, if the sources of its standard library are there.
fn compiler(rustc: PathBuf, cargo: PathBuf) -> Option<Compiler> {
    let print = |arguments: &[&str]| {
        let output = Command::new(&rustc)
            .args(arguments)
            .env_remove("RUSTUP_TOOLCHAIN")
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let sysroot = PathBuf::from(print(&["--print", "sysroot"])?.trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core").exists() {
        return None;
    }
    let verbose = print(&["--version", "--verbose"])?;
    let field = |name: &str| {
        let line = verbose.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let first = verbose.lines().next()?.strip_prefix("rustc ")?;
    // Without what a distribution adds behind the date.
    let version = first.split_inclusive(')').next()?.to_owned();
    Some(Compiler {
        llvm: field("LLVM version:")?,
        version,
        rustc,
        cargo,
        sysroot,
    })
}

/// A directory with the shared library of the LLVM that the compiler uses: objects are reproducible
/// only if compiler and linker use the same.
fn llvm_directory(compiler: &Compiler) -> Result<PathBuf> {
    let major: String = compiler
        .llvm
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let candidates = [
        compiler.sysroot.join("lib"),
        Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)),
        Path::new("/usr/lib").join(format!("llvm-{major}/lib")),
    ];
    let has_llvm = |directory: &PathBuf| {
        let Ok(entries) = std::fs::read_dir(directory) else {
            return false;
        };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| {
                name.starts_with(&format!("libLLVM.so.{major}."))
                    || name.starts_with(&format!("libLLVM-{major}"))
            })
        })
    };
    candidates
        .into_iter()
        .find(has_llvm)
        .with_context(|| format!("missing: the shared library of LLVM {major} (Debian: sudo apt-get install libllvm{major})"))
}

/// bpf-linker, built once into `target/tools`.
fn linker() -> Result<PathBuf> {
    let root = workspace().join("target/tools");
    let linker = root.join("bin/bpf-linker");
    let installed = Command::new(&linker)
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            output
                .stdout
                .ends_with(format!(" {LINKER_VERSION}\n").as_bytes())
        });
    if !installed {
        println!("installing bpf-linker {LINKER_VERSION} into target/tools");
        // What it links is the work of LLVM's library, which is optimized: its own code need not be.
        step::run(
            Command::new(env!("CARGO"))
                .args(["install", "--locked", "--quiet", "--root"])
                .arg(&root)
                .arg(format!("bpf-linker@{LINKER_VERSION}"))
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_PROFILE_RELEASE_DEBUG", "0"),
        )?;
    }
    Ok(linker)
}
