//! The kernel that no distribution's package of ours has: arm64 with pages of 64 KiB, built from Debian's source.
//!
//! Its configuration is ours (`pages_64k.config`) and small: what the agent, busybox and the emulated machine need, and no pid
//! namespaces. It takes some 3 GB while it is built, and an hour on two busy cores; the image is kept in `target/kernels`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use super::Cpu;
use super::apt::Apt;
use super::image::{Image, Pages};
use crate::prerequisite::{self, Wanted};
use crate::step;

/// The kernel.
pub(super) const IMAGE: Image = Image {
    series: "6.12",
    cpu: Cpu::Arm64,
    pages: Pages::KiB64,
};

const CONFIGURATION: &str = include_str!("pages_64k.config");

/// Fetches the source and builds the kernel.
pub(super) fn build(apt: &Apt, directory: &Path) -> Result<()> {
    prerequisite::ensure(Wanted::KernelBuild)?;
    let place = IMAGE.place(directory);
    let work = place.join("build");
    // What an earlier build left may be of another source.
    if work.exists() {
        fs::remove_dir_all(&work).context("build")?;
    }
    let (source, objects) = (work.join("source"), work.join("objects"));
    for directory in [&source, &objects] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let name = format!("linux-source-{}", IMAGE.series);
    unpack(&apt.fetch(&name, "all")?, &name, &source)?;

    let wanted = work.join("wanted.config");
    fs::write(&wanted, CONFIGURATION).context("wanted.config")?;
    let make = || {
        let mut make = Command::new("make");
        make.arg("--directory").arg(&source);
        make.arg(format!("O={}", objects.display()));
        make.args(["--silent", "ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"]);
        make
    };
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    step::run(
        make()
            .arg("allnoconfig")
            .env("KCONFIG_ALLCONFIG", &wanted)
            .stdout(Stdio::null()),
    )?;
    let configuration = fs::read_to_string(objects.join(".config")).context(".config")?;
    has_all(&configuration)?;
    step::run(make().arg(format!("--jobs={jobs}")).arg("Image"))?;
    let release = step::output(make().arg("kernelrelease"))?;
    fs::rename(objects.join("arch/arm64/boot/Image"), place.join("vmlinuz")).context("vmlinuz")?;
    println!("kernel {}: {} ({name})", IMAGE.series, release.trim());
    fs::remove_dir_all(&work).context("build")?;
    fs::write(place.join("release"), release.trim()).context("release")
}

/// Unpacks the archive of a package of a source.
fn unpack(package: &Path, name: &str, source: &Path) -> Result<()> {
    let mut files = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let mut archive = Command::new("tar")
        .args(["--extract", "--to-stdout"])
        .arg(format!("./usr/src/{name}.tar.xz"))
        .stdin(files.stdout.take().expect("standard output is piped"))
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start tar")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--xz", "--strip-components=1", "--directory"]);
    let archived = archive.stdout.take().expect("standard output is piped");
    step::run(tar.arg(source).stdin(archived))?;
    for child in [&mut archive, &mut files] {
        ensure!(
            child.wait().context("tar")?.success(),
            "cannot read {}",
            package.display()
        );
    }
    Ok(())
}

/// Has the configuration that was made all that ours asks for? What something else does not let be is left out without a word.
fn has_all(configuration: &str) -> Result<()> {
    let is_there = |wanted: &&str| configuration.lines().any(|line| line == *wanted);
    let wanted = CONFIGURATION
        .lines()
        .filter(|line| line.contains("CONFIG_"));
    let missing: Vec<&str> = wanted.filter(|line| !is_there(line)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this source does not let be: {}", missing.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_a_configuration_is_named() {
        let whole = format!("CONFIG_MORE=y\n{CONFIGURATION}");
        assert!(has_all(&whole).is_ok());
        let part = whole.replace(
            "CONFIG_BPF_SYSCALL=y\n",
            "# CONFIG_BPF_SYSCALL is not set\n",
        );
        let error = has_all(&part).unwrap_err().to_string();
        assert_eq!(error, "this source does not let be: CONFIG_BPF_SYSCALL=y");
    }
}
