//! Real kernels under QEMU: which there are ([`Kernel`]), what a guest has in its memory ([`initramfs`]), how it is
//! run ([`qemu`]), the programs that it profiles ([`workloads`]), how its files leave it ([`protocol`]), and what came of it all ([`results`]).
//!
//! `cargo xtask test` fetches the kernels to `target/kernels/SERIES-CPU` and cross-builds the agent. Emulation counts
//! instructions as time (`-icount`), so that a busy machine makes a guest slow and nothing else: many may run at once.

pub mod guest;
pub mod initramfs;
pub mod protocol;
pub mod qemu;
pub mod results;
pub mod workloads;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::{agent, workspace};

/// A CPU that the agent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cpu {
    /// Intel's and AMD's.
    X86_64,
    /// Arm's.
    Arm64,
}

impl Cpu {
    /// Its name in tests, results and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// The agent built for it.
    ///
    /// # Panics
    ///
    /// When it is not built.
    #[must_use]
    pub fn agent(self) -> PathBuf {
        let path = match self {
            Self::X86_64 => agent::executable().to_path_buf(),
            Self::Arm64 => std::env::var_os("PROFILER_AGENT_ARM64").map_or_else(
                || {
                    workspace()
                        .join("target/aarch64/aarch64-unknown-linux-gnu/emulated/profiler-agent")
                },
                Into::into,
            ),
        };
        assert!(
            path.is_file(),
            "{} is not there: {TO_PREPARE}",
            path.display()
        );
        path
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const TO_PREPARE: &str = "`cargo xtask test --kernels` fetches and builds what the guests need";

/// What a CPU is emulated to be, and pages that a kernel is built for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hardware {
    /// All that there is.
    #[default]
    Newest,
    /// arm64 with pages of 16 KiB: a kernel of its own.
    LargePages,
    /// arm64 with pages of 64 KiB: a kernel that is built here.
    LargestPages,
    /// arm64 without signatures of pointers (Cortex-A72: Graviton 1, Raspberry Pi 4).
    Unsigned,
    /// arm64 with signatures and addresses of 48 bits, which leave more room for them (Graviton 3).
    NarrowAddresses,
}

impl Hardware {
    /// Its name in results and documents; empty where there is nothing to tell.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newest => "",
            Self::LargePages => "16 KiB pages",
            Self::LargestPages => "64 KiB pages",
            Self::Unsigned => "no signed pointers",
            Self::NarrowAddresses => "48-bit addresses",
        }
    }
}

/// A kernel on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// Its series, like `6.1`.
    pub series: &'static str,
    /// The CPU.
    pub cpu: Cpu,
    /// What kind of it.
    pub hardware: Hardware,
}

impl Kernel {
    /// A kernel on a CPU that can everything.
    #[must_use]
    pub const fn new(series: &'static str, cpu: Cpu) -> Self {
        Self {
            series,
            cpu,
            hardware: Hardware::Newest,
        }
    }

    /// The kernel's image, to be booted.
    ///
    /// # Panics
    ///
    /// When it was not fetched.
    #[must_use]
    pub fn image(self) -> PathBuf {
        let image = self.directory().join("vmlinuz");
        assert!(
            image.is_file(),
            "{} is not there: {TO_PREPARE}",
            image.display()
        );
        image
    }

    /// What `uname -r` says in it.
    ///
    /// # Panics
    ///
    /// When it was not fetched.
    #[must_use]
    pub fn release(self) -> String {
        let file = self.directory().join("release");
        fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}: {TO_PREPARE}", file.display()))
    }

    fn directory(self) -> PathBuf {
        directory().join(format!("{}-{}", self.image_name(), self.cpu))
    }

    /// The name of its image; hardware is no matter of the image where only the CPU differs.
    fn image_name(self) -> String {
        match self.hardware {
            Hardware::LargePages => format!("{}-16k", self.series),
            Hardware::LargestPages => format!("{}-64k", self.series),
            _ => self.series.to_owned(),
        }
    }

    /// Where what leaves its guests is kept.
    pub(crate) fn output(self, name: &str) -> PathBuf {
        let kind = self.hardware.name().replace(' ', "-");
        self.directory().join(kind).join(name)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {} on {}", self.series, self.cpu)?;
        match self.hardware.name() {
            "" => Ok(()),
            kind => write!(f, " ({kind})"),
        }
    }
}

/// Where kernels, and what came of booting them, are kept.
#[must_use]
pub fn directory() -> PathBuf {
    workspace().join("target/kernels")
}

/// Where Debian's packages of musl for arm64 are unpacked.
///
/// # Panics
///
/// When they were not fetched.
fn musl() -> PathBuf {
    let musl = directory().join("musl-arm64");
    assert!(
        musl.is_dir(),
        "{} is not there: {TO_PREPARE}",
        musl.display()
    );
    musl
}

/// Its libraries below that.
const MUSL_LIBRARIES: &str = "usr/lib/aarch64-linux-musl";
