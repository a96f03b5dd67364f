//! Every check and every test, in the order in which they are cheap.

use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::cargo::{command as cargo, target_directory};
use crate::kernels::{self, Cpu, Selection};
use crate::prerequisite::{self, Wanted};
use crate::step::{self, Steps};
use crate::{build_ebpf, tidy};

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
    /// Also builds programs with every version of Go in every way that changes how their symbols are
    /// stored, not only the newest version (about half an hour more when nothing is built yet).
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    kernels: Selection,
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
    /// The agent, cross-built, and the workload in Rust for arm64.
    Arm64,
    /// The agent's programs, and the agent, on other kernels and both CPUs.
    Kernels,
    /// The real agent over real programs.
    Suites,
}

/// Runs the steps; an error if one of them failed.
///
/// Installing what is missing, and then compiling for others than this machine (the kernel, aarch64), goes on beside the
/// checks and unit tests; the suites need the machine for themselves.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    let (checks, builds) = thread::scope(|scope| {
        let (installed, is_installed) = mpsc::channel();
        let builds = scope.spawn(move || options.builds(&installed));
        (options.checks(&is_installed), builds.join())
    });
    steps.join(checks);
    match builds {
        Ok(builds) => steps.join(builds),
        Err(_) => steps.check("builds", || bail!("panicked")),
    }
    if options.wants(Step::Kernels) {
        options.kernels.forget_results()?;
        steps.tests("kernels", &mut options.kernels.tests(tests_of_agent()));
    }
    if options.wants(Step::Suites) {
        let mut all = suites(&[]);
        if options.full {
            all.env("PROFILER_GO_MATRIX", "full");
        }
        steps.tests_in_turn("suites", &mut all);
    }
    if options.with_peers {
        steps.tests_in_turn("peers", &mut suites(&["--ignored"]));
    }
    steps.close()
}

impl Options {
    fn wants(&self, step: Step) -> bool {
        if self.kernels.kernels {
            return step == Step::Kernels;
        }
        self.only.is_empty() || self.only.contains(&step)
    }

    /// `is_installed` yields when all is there that tests need; the first checks need what built this program.
    fn checks(&self, is_installed: &Receiver<()>) -> Steps {
        let mut steps = Steps::default();
        if self.wants(Step::Format) {
            let arguments = ["fmt", "--all", "--check"];
            steps.check("format", || step::run(cargo().args(arguments)));
        }
        if self.wants(Step::Tidy) {
            steps.check("tidy", tidy::run);
        }
        if self.wants(Step::Lint) {
            let clippy = |targets: &[&str]| {
                let mut clippy = cargo();
                clippy.args(["clippy", "--workspace", "--locked", "--profile", PROFILE]);
                // What no other step compiles.
                clippy.args(["--features", "xtask/generate"]);
                // The fuzz targets are checked, not linked: the library in C++ that they would link is not built.
                clippy.env("CUSTOM_LIBFUZZER_PATH", "not-linked/libFuzzer.a");
                step::run(clippy.args(targets).args(["--", "-Dwarnings"]))
            };
            steps.check("lint", || clippy(&["--all-targets"]));
            steps.check("lint of the suites", || {
                clippy(&["--test", "suites", "--test", "kernels"])
            });
        }
        // Without a word if whoever installs has panicked: that fails by itself.
        let _told = is_installed.recv();
        if self.wants(Step::Unit) {
            // No examples, which clippy checks, and no tests in documentation, of which there are none.
            steps.tests("unit tests", tests().args(["--no-fail-fast", "--tests"]));
        }
        if self.wants(Step::Suites) || self.wants(Step::Kernels) || self.with_peers {
            steps.check("build of the suites", || step::run(&mut build()));
        }
        steps
    }

    fn builds(&self, installed: &Sender<()>) -> Steps {
        let mut steps = Steps::default();
        let wanted = if self.kernels.kernels {
            Wanted::Guests
        } else {
            Wanted::All
        };
        steps.check("prerequisites", || prerequisite::ensure(wanted));
        // Nobody waits for it if there is nothing to check.
        let _told = installed.send(());
        thread::scope(|scope| {
            // It waits for mirrors most of the time.
            let fetched = scope.spawn(|| self.fetches());
            if self.wants(Step::Ebpf) {
                steps.check("eBPF objects", || build_ebpf::run(true));
            }
            let kernels = self.wants(Step::Kernels);
            match fetched.join() {
                Ok(fetched) => steps.join(fetched),
                Err(_) => steps.check("fetching of kernels", || bail!("panicked")),
            }
            if self.wants(Step::Arm64) || (kernels && self.kernels.has(Cpu::Arm64)) {
                steps.check("build for arm64", kernels::build_for_arm64);
            }
        });
        steps
    }

    fn fetches(&self) -> Steps {
        let mut steps = Steps::default();
        if self.wants(Step::Kernels) {
            steps.check("fetching of kernels", || self.kernels.fetch());
        }
        if self.wants(Step::Kernels) && self.kernels.has_built() {
            steps.check("building of a kernel", Selection::build);
        }
        steps
    }
}

/// What tests are compiled to.
const PROFILE: &str = "tested";

/// Builds the suites, the checks of kernels and their agent.
pub(crate) fn build() -> Command {
    let mut build = tests();
    // For any test of its package cargo builds the agent.
    for test in ["suites", "kernels", "objects"] {
        build.args(["--test", test]);
    }
    build.arg("--no-run");
    build
}

/// The suites, one test at a time: each profiles programs whose share of the processor it knows.
pub(crate) fn suites(arguments: &[&str]) -> Command {
    let mut suites = tests_of_agent();
    suites
        .args(["--test", "suites", "--", "--test-threads=1"])
        .args(arguments);
    suites
}

/// `cargo test` of everything that it links. The unit tests, the suites and their agent are built from the same packages
/// at once, so that these have the same features and are compiled once; clippy shares what their build scripts compile.
fn tests() -> Command {
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--locked", "--profile", PROFILE]);
    // `cargo fuzz` links the fuzz targets.
    tests.args(["--exclude", "profiler-agent-fuzz"]);
    tests
}

/// Tests of the agent that was built for them.
fn tests_of_agent() -> Command {
    let mut tests = tests();
    let agent = target_directory().join(PROFILE);
    tests.env("PROFILER_AGENT", agent.join("profiler-agent"));
    tests
}
