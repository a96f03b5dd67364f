//! Builds for arm64 on this machine.
//!
//! The standard library for arm64 comes from rustup where it could be fetched; else from Debian: its compiler is
//! installed, and the library that belongs to exactly that compiler is unpacked below `target/kernels`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::apt::Apt;
use crate::{step, workspace};

/// Rust's name of the target.
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Where rustc looks for libraries of a target, below the directory that it is told.
const LIBRARIES: &str = "lib/rustlib";
/// Debian's package of the standard library that belongs to `rustc-web`.
const STANDARD_LIBRARY: &str = "libstd-rust-web-dev";
/// The agent has to be fast enough for an emulated CPU, and no faster to build than that.
const PROFILE: &str = "emulated";

/// A compiler and a standard library for arm64.
pub(super) enum Cross {
    /// The workspace's own toolchain has the target.
    Rustup,
    /// Debian's compiler, with the directory that has its libraries.
    Debian(PathBuf),
}

impl Cross {
    /// What there is; from Debian what is missing, with the packages below `directory`.
    pub(super) fn find(directory: &Path, apt: impl FnOnce() -> Result<Apt>) -> Result<Self> {
        if sysroot_has_target() {
            return Ok(Self::Rustup);
        }
        let query = ["--show", "--showformat", "${Version}", "rustc-web"];
        let version = step::output(Command::new("dpkg-query").args(query))?;
        let sysroot = directory.join(format!("rust-{}", version.replace(':', "_")));
        let libraries = sysroot.join(LIBRARIES);
        if !libraries.join(TARGET).exists() {
            make_sysroot(&apt()?, &version, &sysroot)?;
        }
        Ok(Self::Debian(sysroot))
    }

    /// The agent, which has faults that a test asks for.
    pub(super) fn build_agent(&self) -> Result<()> {
        let mut command = self.cargo();
        command.args(["build", "--profile", PROFILE, "--locked"]);
        command.args(["--package", "profiler-agent"]);
        command.args(["--features", "fault-injection"]);
        // Not to wait for what is built for this machine.
        command.env("CARGO_TARGET_DIR", workspace().join("target/aarch64"));
        step::run(&mut command)
    }

    /// The Rust program of the workloads.
    pub(super) fn build_workload(&self) -> Result<()> {
        let mut command = self.cargo();
        command.args(["build", "--release", "--locked", "--bin", "workload"]);
        // Nobody asks it what it says of itself.
        command.arg("--no-default-features");
        command
            .current_dir(workspace().join("tests/workloads/rust"))
            .env(
                "CARGO_TARGET_DIR",
                workspace().join("target/workloads/rust"),
            );
        step::run(&mut command)
    }

    fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Rustup => Command::new(env!("CARGO")),
            Self::Debian(sysroot) => {
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env(
                        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
                        format!("--sysroot={}", sysroot.display()),
                    )
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("CARGO");
                command
            }
        };
        command.current_dir(workspace());
        for (variable, program) in [
            ("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc"),
            ("CXX_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-g++"),
            ("AR_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-ar"),
            (
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                "aarch64-linux-gnu-gcc",
            ),
        ] {
            command.env(variable, program);
        }
        command.env("CARGO_BUILD_TARGET", TARGET);
        command
    }
}

fn sysroot_has_target() -> bool {
    let mut rustc = Command::new("rustc");
    let sysroot = step::output(rustc.args(["--print", "sysroot"]).current_dir(workspace()));
    sysroot.is_ok_and(|sysroot| {
        let libraries = Path::new(sysroot.trim()).join(LIBRARIES);
        libraries.join(TARGET).is_dir()
    })
}

/// Makes a directory of libraries: those for arm64 from the package, this machine's from where they are.
fn make_sysroot(apt: &Apt, version: &str, sysroot: &Path) -> Result<()> {
    let package = apt.fetch(&format!("{STANDARD_LIBRARY}={version}"), "arm64")?;
    let unpacked = sysroot.join("package");
    super::unpack(&package, &unpacked)?;
    let libraries = sysroot.join(LIBRARIES);
    fs::create_dir_all(&libraries).with_context(|| libraries.display().to_string())?;
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    link(
        &Path::new("/usr/lib/rustlib").join(&host),
        &libraries.join(host),
    )?;
    // Last: with it the directory is complete.
    let of_target = Path::new("usr/lib/rustlib").join(TARGET);
    link(&unpacked.join(of_target), &libraries.join(TARGET))
}

/// Links where there is nothing, or a link: of a checkout that was moved it leads nowhere.
fn link(to: &Path, from: &Path) -> Result<()> {
    if from.is_symlink() {
        fs::remove_file(from).with_context(|| from.display().to_string())?;
    }
    symlink(to, from).with_context(|| format!("cannot link {}", from.display()))
}
