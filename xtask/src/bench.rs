//! The benchmarks of the stages, then the whole agent under the standard mix.

use anyhow::Result;
use clap::Args;

use crate::cargo::{command as cargo, target_directory};
use crate::kernels::{self, Cpu};
use crate::prerequisite::{self, Wanted};
use crate::{step, workspace};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// How long the whole agent is measured, in seconds. The standard mix ends after two minutes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=80))]
    seconds: u32,
    /// Leaves out the benchmarks and measurements of the stages.
    #[arg(long)]
    whole_only: bool,
    /// Measures the eBPF profiler of OpenTelemetry beside the agent, in the same run. It and a collector are
    /// built from Go modules (minutes, the first time); tracefs is mounted for it where it is not.
    #[arg(long)]
    with_peers: bool,
    /// Measures only what the ways to walk stacks cost, in guests: the kernels of `cargo xtask test --kernels`.
    #[arg(long)]
    kernels: bool,
    /// Boots on this CPU only.
    #[arg(long, value_enum, value_name = "CPU", requires = "kernels")]
    cpu: Vec<Cpu>,
}

/// The tests of the agent that hold measurements, which `cargo test` leaves out.
const MEASUREMENTS: &[&str] = &["store", "page"];

/// How long the measurement of labels takes.
const LABEL_SECONDS: &str = "60";

/// Runs the benchmarks of `profiler-agent/benches` and the measurements among its tests, then
/// measures the agent in release.
pub(crate) fn run(options: &Options) -> Result<()> {
    prerequisite::ensure(Wanted::All)?;
    if options.kernels {
        return measure_walks(&options.cpu);
    }
    if !options.whole_only && workspace().join("profiler-agent/benches").is_dir() {
        step::run(cargo().args(["bench", "--package", "profiler-agent", "--benches"]))?;
        for test in MEASUREMENTS {
            let arguments = ["--release", "--package", "profiler-agent", "--test", test];
            step::run(cargo().arg("test").args(arguments).args([
                "--",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ]))?;
        }
    }
    step::run(cargo().args(["build", "--release", "--package", "profiler-agent"]))?;
    let seconds = options.seconds.to_string();
    let measuring = if options.with_peers {
        "compare-agents"
    } else {
        "measure-agent"
    };
    let agent = target_directory().join("release/profiler-agent");
    let measure = |program: &str, options: &[&str]| {
        let arguments = ["run", "--quiet", "--package", "profiler-tests", "--bin"];
        step::run(
            cargo()
                .args(arguments)
                .args([program, "--"])
                .args(options)
                .env("PROFILER_AGENT", &agent),
        )
    };
    let wire = ["bench", "--package", "profiler-tests", "--bench", "wire"];
    step::run(cargo().args(wire).env("PROFILER_AGENT", &agent))?;
    measure(measuring, &[&seconds])?;
    let peers: &[&str] = if options.with_peers {
        &[LABEL_SECONDS, "--with-peers"]
    } else {
        &[LABEL_SECONDS]
    };
    measure("measure-labels", peers)
}

/// Measures what the ways to walk stacks cost, in guests on these CPUs; on both where none is named.
fn measure_walks(cpus: &[Cpu]) -> Result<()> {
    let cpus = if cpus.is_empty() { &Cpu::ALL } else { cpus };
    kernels::prepare(cpus)?;
    let agent = target_directory().join("suites/profiler-agent");
    if cpus.contains(&Cpu::X86_64) {
        let arguments = ["build", "--profile", "suites", "--package"];
        step::run(cargo().args(arguments).arg("profiler-agent"))?;
    }
    let mut bench = cargo();
    // As the tests of kernels are built, which are there mostly.
    bench.args(["bench", "--workspace", "--locked", "--profile", "tested"]);
    bench.args(["--exclude", "profiler-agent-fuzz", "--bench", "walk", "--"]);
    bench.args(cpus.iter().map(|cpu| cpu.name()));
    step::run(bench.env("PROFILER_AGENT", agent))
}
