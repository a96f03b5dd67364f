//! Builds, checks and runs the profiler: `cargo xtask help`.

mod agent_build;
mod bench;
mod build_ebpf;
mod cargo;
mod generate;
mod install;
mod kernels;
mod prerequisite;
mod run;
mod soak;
mod step;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Builds, checks and runs the profiler.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Runs every check and every test; its last line is `N passed, N failed`.
    Test(test::Options),
    /// Checks the house rules that the compiler does not know.
    Tidy,
    /// Builds what is missing and starts the agent with its page on 127.0.0.1:4099.
    Run(run::Options),
    /// Builds the release and installs it: /usr/local/bin/profiler-agent, or below another prefix.
    Install(install::Options),
    /// Measures the stages and the whole agent under the standard mix.
    Bench(bench::Options),
    /// Has a machine that never rests go on for minutes, and the agent on it stay as it was.
    Soak(soak::Options),
    /// Builds the eBPF objects that the agent includes.
    BuildEbpf {
        /// Compares a fresh build with the committed objects and changes nothing.
        #[arg(long)]
        check: bool,
    },
    /// Writes the sources that are generated.
    Generate,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Test(options) => test::run(&options),
        Command::Tidy => tidy::run(),
        Command::Run(options) => run::run(&options),
        Command::Install(options) => install::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::BuildEbpf { check } => build_ebpf::run(check),
        Command::Generate => generate::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory.
fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}
