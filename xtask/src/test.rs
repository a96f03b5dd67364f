//! Every check and every test, in the order in which they are cheap.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::step::{self, Steps};
use crate::{build_ebpf, fuzz, prerequisite, tidy, workspace};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs only these steps.
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
    /// Also proves the agent against real programs of others, which are built or fetched first: an
    /// OpenTelemetry collector from Go modules (minutes, the first time), the published Python messages.
    #[arg(long)]
    with_peers: bool,
}

/// A step of the run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Sources are formatted.
    Format,
    /// The house rules hold.
    Tidy,
    /// Clippy finds nothing, and the fuzz targets compile.
    Lint,
    /// The committed eBPF objects are what their sources build to.
    Ebpf,
    /// Unit tests of all crates.
    Unit,
    /// The agent compiles for aarch64.
    Aarch64,
    /// The real agent over real programs.
    Suites,
}

/// Runs the steps; an error if one of them failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |step| options.only.is_empty() || options.only.contains(&step);
    let mut steps = Steps::default();
    steps.check("prerequisites", prerequisite::ensure);
    if wanted(Step::Format) {
        steps.check("format", || {
            step::run(cargo().args(["fmt", "--all", "--check"]))?;
            // A workspace of its own.
            let targets = "profiler-agent/fuzz/Cargo.toml";
            step::run(cargo().args(["fmt", "--manifest-path", targets, "--check"]))
        });
    }
    if wanted(Step::Tidy) {
        steps.check("tidy", tidy::run);
    }
    if wanted(Step::Lint) {
        steps.check("lint", || {
            let arguments = [
                "clippy",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-Dwarnings",
            ];
            step::run(cargo().args(arguments))
        });
        steps.check("fuzz targets", fuzz::check);
    }
    if wanted(Step::Ebpf) {
        steps.check("eBPF objects", || build_ebpf::run(true));
    }
    if wanted(Step::Unit) {
        let arguments = [
            "--workspace",
            "--exclude",
            "profiler-tests",
            "--locked",
            "--no-fail-fast",
        ];
        steps.tests("unit tests", cargo().arg("test").args(arguments));
    }
    if wanted(Step::Aarch64) {
        steps.check("aarch64", || step::run(&mut check_aarch64()));
    }
    if wanted(Step::Suites) || options.with_peers {
        let mut agent = cargo();
        agent.args([
            "build",
            "--release",
            "--package",
            "profiler-agent",
            "--locked",
        ]);
        steps.check("release build", || step::run(&mut agent));
    }
    if wanted(Step::Suites) {
        steps.tests("suites", &mut suites(&[]));
    }
    if options.with_peers {
        steps.tests("peers", &mut suites(&["--ignored"]));
    }
    steps.close()
}

/// The suites, one test at a time: each profiles programs whose share of the processor it knows.
fn suites(arguments: &[&str]) -> Command {
    let mut suites = cargo();
    suites
        .args([
            "test",
            "--package",
            "profiler-tests",
            "--locked",
            "--no-fail-fast",
        ])
        .args(["--", "--test-threads=1"])
        .args(arguments)
        .env(
            "PROFILER_AGENT",
            workspace().join("target/release/profiler-agent"),
        );
    suites
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace());
    command
}

/// The standard library for aarch64 comes from rustup where it could be fetched; else it is built
/// from Debian's sources by the compiler that they belong to.
fn check_aarch64() -> Command {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    let arguments = [
        "check",
        "--package",
        "profiler-agent",
        "--locked",
        "--target",
        TARGET,
    ];
    let mut command = if sysroot_has(TARGET) {
        cargo()
    } else {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .arg("-Zbuild-std=std,panic_abort")
            .current_dir(workspace())
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", workspace().join("target/aarch64"))
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("CARGO");
        command
    };
    command
        .args(arguments)
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
            "aarch64-linux-gnu-gcc",
        );
    command
}

fn sysroot_has(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    let sysroot = step::output(rustc.args(["--print", "sysroot"]).current_dir(workspace()));
    sysroot.is_ok_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(target)
            .is_dir()
    })
}
