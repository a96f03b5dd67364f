//! Debian's cloud kernels, unpacked to `target/kernels/SERIES-CPU/{vmlinuz,release}`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Cpu;
use super::apt::{Apt, Candidate};

/// Names of packages with a kernel begin so; from 7.0 on `linux-image-*` only depends on one.
const PREFIXES: [&str; 2] = ["linux-binary-", "linux-image-"];

/// The pages that a kernel is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// Of 4 KiB.
    KiB4,
    /// Of 16 KiB.
    KiB16,
    /// Of 64 KiB.
    KiB64,
}

impl Pages {
    /// How names of kernels end that have others than most.
    const fn suffix(self) -> &'static str {
        match self {
            Self::KiB4 => "",
            Self::KiB16 => "-16k",
            Self::KiB64 => "-64k",
        }
    }
}

/// A kernel of a series for a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Like `6.1`.
    pub(super) series: &'static str,
    /// The CPU.
    pub(super) cpu: Cpu,
    /// Its pages.
    pub(super) pages: Pages,
}

impl Image {
    /// Where it is kept.
    pub(super) fn place(self, directory: &Path) -> PathBuf {
        let pages = self.pages.suffix();
        directory.join(format!("{}{pages}-{}", self.series, self.cpu.name()))
    }

    /// Is this kernel there already?
    pub(super) fn is_there(self, directory: &Path) -> bool {
        // Written last.
        self.place(directory).join("release").is_file()
    }

    /// Is this a package of the series, like `linux-image-6.1.0-57-cloud-amd64`, also with `-unsigned`? Not 6.12
    /// for 6.1, no debug symbols, and not the name that stands for the newest version
    /// (`linux-image-6.1-cloud-amd64`).
    fn is_in(self, package: &str) -> bool {
        let package = package.strip_suffix("-unsigned").unwrap_or(package);
        let architecture = self.cpu.debian();
        let kind = match self.pages {
            Pages::KiB4 => format!("-cloud-{architecture}"),
            pages => format!("-{architecture}{}", pages.suffix()),
        };
        let middle = PREFIXES.iter().find_map(|prefix| {
            let rest = package.strip_prefix(prefix)?.strip_prefix(self.series)?;
            rest.strip_suffix(&kind)
        });
        middle.is_some_and(|middle| middle.starts_with('.'))
    }
}

/// Fetches kernels for a CPU, each the newest of its series that the mirror still has.
pub(super) fn fetch(apt: &Apt, directory: &Path, images: &[Image], cpu: Cpu) -> Result<()> {
    let mut names = Vec::new();
    for prefix in PREFIXES {
        names.extend(apt.names(prefix)?);
    }
    names.retain(|name| images.iter().any(|image| image.is_in(name)));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let candidates = apt.candidates(&names, cpu.debian())?;
    for image in images {
        let mut of_image = candidates.clone();
        of_image.retain(|candidate| image.is_in(&candidate.package));
        fetch_one(apt, &of_image, image.series, &image.place(directory))
            .with_context(|| format!("kernel {} for {}", image.series, cpu.name()))?;
    }
    Ok(())
}

fn fetch_one(apt: &Apt, candidates: &[Candidate], series: &str, place: &Path) -> Result<()> {
    fs::create_dir_all(place).with_context(|| place.display().to_string())?;
    let take = |candidate: &Candidate, file: PathBuf| {
        let release = unpack(&file, place)?;
        println!("kernel {series}: {release} ({})", candidate.version);
        fs::write(place.join("release"), release).context("release")
    };
    apt.fetch_first(candidates, take)
}

/// Unpacks the kernel of a package to `vmlinuz`; what `uname -r` will say.
fn unpack(package: &Path, place: &Path) -> Result<String> {
    let unpacked = place.join("unpacked");
    fs::create_dir_all(&unpacked).with_context(|| unpacked.display().to_string())?;
    let mut archive = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let stdout = archive.stdout.take().expect("standard output is piped");
    // It fails because one of the two is not there.
    let _status = Command::new("tar")
        .arg("--directory")
        .arg(&unpacked)
        .args(["--extract", "--wildcards"])
        .args(["./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz"])
        .stdin(stdout)
        .stderr(Stdio::null())
        .status()
        .context("cannot start tar")?;
    ensure!(archive.wait().context("dpkg-deb")?.success(), "dpkg-deb");
    let Some((kernel, release)) = find(&unpacked)? else {
        bail!("there is no kernel in it")
    };
    fs::rename(&kernel, place.join("vmlinuz")).context("vmlinuz")?;
    fs::remove_dir_all(&unpacked).context("unpacked")?;
    Ok(release)
}

/// The kernel and its release, which is in its name or its directory's, depending on who made the package.
fn find(unpacked: &Path) -> Result<Option<(PathBuf, String)>> {
    for (directory, before, after) in [("boot", "vmlinuz-", ""), ("usr/lib/modules", "", "vmlinuz")]
    {
        let directory = unpacked.join(directory);
        if !directory.is_dir() {
            continue;
        }
        for entry in directory.read_dir().context("unpacked")? {
            let name = entry?.file_name();
            let release = name.to_str().and_then(|name| name.strip_prefix(before));
            if let Some(release) = release {
                let kernel = directory.join(&name);
                let kernel = if after.is_empty() {
                    kernel
                } else {
                    kernel.join(after)
                };
                return Ok(Some((kernel, release.to_owned())));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(series: &'static str, cpu: Cpu, pages: Pages) -> Image {
        Image { series, cpu, pages }
    }

    #[test]
    fn packages_of_a_series_are_told_from_others() {
        let of = |name: &str| image("6.1", Cpu::X86_64, Pages::KiB4).is_in(name);
        assert!(of("linux-image-6.1.0-57-cloud-amd64-unsigned"));
        assert!(of("linux-image-6.1.0-57-cloud-amd64"));
        assert!(!of("linux-image-6.1-cloud-amd64"));
        assert!(!of("linux-image-6.12.117+deb13-cloud-amd64"));
        assert!(!of("linux-image-6.1.0-57-cloud-amd64-dbg"));
        assert!(!of("linux-image-6.1.0-57-amd64"));
        assert!(!of("linux-image-6.1.0-57-cloud-arm64"));
        let arm64 = image("7.3", Cpu::Arm64, Pages::KiB4);
        assert!(arm64.is_in("linux-binary-7.3.4+deb13-cloud-arm64"));
        assert!(!arm64.is_in("linux-binary-7.3.4+deb13-arm64-16k"));
        let large = image("7.3", Cpu::Arm64, Pages::KiB16);
        assert!(large.is_in("linux-binary-7.3.4+deb13-arm64-16k"));
        assert!(!large.is_in("linux-binary-7.3.4+deb13-cloud-arm64"));
    }
}
