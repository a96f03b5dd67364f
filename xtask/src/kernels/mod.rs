//! The kernels that the agent is proved on: fetches them, builds for the other CPU, and names the tests to run.
//!
//! The tests themselves (`tests/kernels/`) boot what lies below `target/kernels`.

mod apt;
mod cross;
mod image;
mod source;
pub(crate) mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use crate::{step, workspace};
use apt::Apt;
use cross::Cross;
use image::{Image, Pages};

/// Every series, oldest first.
const SERIES: [&str; 6] = ["5.10", "6.1", "6.12", "6.18", "7.0", "7.3"];
/// Those that every run boots; the others are asked for.
const OF_EVERY_RUN: [&str; 4] = ["5.10", "6.1", "7.0", "7.3"];

/// The series that is also booted with pages of 16 KiB.
const WITH_LARGE_PAGES: &str = "7.3";

/// A CPU of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cpu {
    /// Intel's and AMD's.
    #[value(name = "x86_64")]
    X86_64,
    /// Arm's.
    Arm64,
}

impl Cpu {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// Its name in tests, results and documents.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// The modules of its tests: the CPU as it is, and kinds of it.
    const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["x86_64"],
            Self::Arm64 => &[
                "arm64",
                "arm64_16k",
                "arm64_64k",
                "arm64_unsigned",
                "arm64_48_bit",
            ],
        }
    }

    /// Debian's name of it.
    const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// Which part of the matrix to run; what is not named is all of it.
#[derive(Args)]
pub(crate) struct Selection {
    /// Boots every kernel on both CPUs for every check, and runs nothing else.
    #[arg(long)]
    pub(crate) kernels: bool,
    /// Boots this kernel only.
    #[arg(long, value_name = "SERIES", requires = "kernels", value_parser = PossibleValuesParser::new(SERIES))]
    kernel: Vec<String>,
    /// Boots on this CPU only.
    #[arg(long, value_enum, value_name = "CPU", requires = "kernels")]
    cpu: Vec<Cpu>,
    /// Makes only checks whose names begin so: `load`, `profile`, `variant`, `fault`, or more of a name.
    #[arg(long, value_name = "CHECK", requires = "kernels")]
    check: Vec<String>,
}

impl Selection {
    fn series(&self) -> Vec<&'static str> {
        let named = |series: &&str| self.kernel.iter().any(|kernel| kernel == series);
        match (self.kernels, self.kernel.is_empty()) {
            (false, _) => OF_EVERY_RUN.to_vec(),
            (true, true) => SERIES.to_vec(),
            (true, false) => SERIES.into_iter().filter(named).collect(),
        }
    }

    /// Debian's kernels for a CPU.
    fn images(&self, cpu: Cpu) -> Vec<Image> {
        let image = |series, pages| Image { series, cpu, pages };
        let series = self.series();
        let usual = series.iter().map(|series| image(series, Pages::KiB4));
        let mut images: Vec<Image> = usual.collect();
        if self.kernels && cpu == Cpu::Arm64 && series.contains(&WITH_LARGE_PAGES) {
            images.push(image(WITH_LARGE_PAGES, Pages::KiB16));
        }
        images
    }

    /// Is the kernel to be booted that is built here?
    pub(crate) fn has_built(&self) -> bool {
        let image = source::IMAGE;
        self.kernels && self.has(image.cpu) && self.series().contains(&image.series)
    }

    fn cpus(&self) -> Vec<Cpu> {
        if self.cpu.is_empty() {
            Cpu::ALL.to_vec()
        } else {
            self.cpu.clone()
        }
    }

    /// Is something of this CPU's to be run?
    pub(crate) fn has(&self, cpu: Cpu) -> bool {
        self.cpus().contains(&cpu)
    }

    /// Parts of the names of the tests to run; none for all.
    fn filters(&self) -> Vec<String> {
        if self.kernel.is_empty() && self.cpu.is_empty() && self.check.is_empty() {
            return Vec::new();
        }
        let any = || vec![String::new()];
        let kernels = if self.kernel.is_empty() {
            any()
        } else {
            let module = |series: &String| format!("v{}", series.replace('.', "_"));
            self.kernel.iter().map(module).collect()
        };
        let checks = if self.check.is_empty() {
            any()
        } else {
            self.check.clone()
        };
        let mut filters = Vec::new();
        for kernel in &kernels {
            for module in self.cpus().into_iter().flat_map(Cpu::modules) {
                for check in &checks {
                    filters.push(format!("{kernel}::{module}::{check}"));
                }
            }
        }
        filters
    }

    /// A run of everything says everything anew: results of earlier ones are removed.
    pub(crate) fn forget_results(&self) -> Result<()> {
        let results = directory()?.join("results.json");
        if self.kernels && self.filters().is_empty() && results.is_file() {
            fs::remove_file(&results).context("results.json")?;
        }
        Ok(())
    }

    /// The tests, many at a time: each waits for its turn to run a guest.
    pub(crate) fn tests(&self, mut tests: Command) -> Command {
        tests.args(["--test", "kernels", "--", "--test-threads=64"]);
        if self.kernels {
            tests.arg("--include-ignored");
        }
        tests.args(self.filters());
        tests
    }

    /// Builds the kernel that nobody ships, where it is not there.
    pub(crate) fn build() -> Result<()> {
        let directory = directory()?;
        if !source::IMAGE.is_there(&directory) {
            source::build(&open_apt()?, &directory)?;
        }
        Ok(())
    }

    /// Fetches what is to be booted.
    pub(crate) fn fetch(&self) -> Result<()> {
        let directory = directory()?;
        let mut apt = None;
        for cpu in self.cpus() {
            let mut missing = self.images(cpu);
            missing.retain(|image| !image.is_there(&directory));
            if !missing.is_empty() {
                image::fetch(opened(&mut apt)?, &directory, &missing, cpu)?;
            }
        }
        let busybox = directory.join("busybox-arm64");
        if self.has(Cpu::Arm64) && !busybox.is_file() {
            fetch_busybox(opened(&mut apt)?, &busybox)?;
        }
        let musl = directory.join("musl-arm64");
        if self.has(Cpu::Arm64) && !musl.is_dir() {
            fetch_musl(opened(&mut apt)?, &musl)?;
        }
        Ok(())
    }
}

/// Fetches every kernel for these CPUs, and builds for arm64 where that is one of them.
pub(crate) fn prepare(cpus: &[Cpu]) -> Result<()> {
    let all = Selection {
        kernels: true,
        kernel: Vec::new(),
        cpu: cpus.to_vec(),
        check: Vec::new(),
    };
    all.fetch()?;
    if all.has(Cpu::Arm64) {
        build_for_arm64()?;
    }
    Ok(())
}

/// Builds the agent and the Rust workload for arm64.
pub(crate) fn build_for_arm64() -> Result<()> {
    let directory = directory()?;
    let cross = Cross::find(&directory, open_apt)?;
    cross.build_agent()?;
    cross.build_workload()
}

/// The shell of guests of the other CPU.
fn fetch_busybox(apt: &Apt, place: &Path) -> Result<()> {
    let package = apt.fetch("busybox-static", "arm64")?;
    let unpacked = place.with_extension("unpacked");
    unpack(&package, &unpacked)?;
    // Where it lies depends on the release.
    let programs = ["usr/bin/busybox", "bin/busybox"].map(|path| unpacked.join(path));
    let program = programs.iter().find(|path| path.is_file());
    let program = program.context("busybox-static has no busybox")?;
    fs::rename(program, place).context("busybox")?;
    fs::remove_dir_all(&unpacked).context("busybox")
}

/// Another C library of guests of the other CPU, as distributions strip it, with what programs are linked by.
fn fetch_musl(apt: &Apt, place: &Path) -> Result<()> {
    let unpacked = place.with_extension("unpacked");
    for package in ["musl", "musl-dev"] {
        unpack(&apt.fetch(package, "arm64")?, &unpacked)?;
    }
    fs::rename(&unpacked, place).context("musl")
}

/// Unpacks a package below a directory.
fn unpack(package: &Path, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let mut command = Command::new("dpkg-deb");
    step::run(command.arg("--extract").args([package, directory]))
}

fn opened(apt: &mut Option<Apt>) -> Result<&Apt> {
    if apt.is_none() {
        *apt = Some(open_apt()?);
    }
    apt.as_ref().context("it was opened")
}

fn open_apt() -> Result<Apt> {
    Apt::new(&directory()?.join("apt"))
}

fn directory() -> Result<PathBuf> {
    let directory = workspace().join("target/kernels");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(kernel: &[&str], cpu: &[Cpu], check: &[&str]) -> Selection {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Selection {
            kernels: true,
            kernel: texts(kernel),
            cpu: cpu.to_vec(),
            check: texts(check),
        }
    }

    #[test]
    fn tests_are_named_by_what_is_selected() {
        assert!(selection(&[], &[], &[]).filters().is_empty());
        assert_eq!(
            selection(&["6.1"], &[Cpu::X86_64], &["load"]).filters(),
            ["v6_1::x86_64::load"]
        );
        let filters = selection(&[], &[Cpu::Arm64], &["profile"]).filters();
        assert_eq!(filters[..2], ["::arm64::profile", "::arm64_16k::profile"]);
    }

    #[test]
    fn a_kernel_is_built_only_where_it_is_asked_for() {
        assert!(selection(&[], &[], &[]).has_built());
        assert!(selection(&["6.12"], &[Cpu::Arm64], &[]).has_built());
        assert!(!selection(&["6.12"], &[Cpu::X86_64], &[]).has_built());
        assert!(!selection(&["7.3"], &[], &[]).has_built());
        let usual = Selection {
            kernels: false,
            ..selection(&[], &[], &[])
        };
        assert!(!usual.has_built());
    }

    #[test]
    fn the_kernels_of_every_run_are_of_the_matrix_and_hold_the_oldest_and_the_newest() {
        assert!(OF_EVERY_RUN.iter().all(|series| SERIES.contains(series)));
        assert_eq!(OF_EVERY_RUN.first(), SERIES.first());
        assert_eq!(OF_EVERY_RUN.last(), SERIES.last());
    }
}
