//! Debian's cloud kernels, unpacked to `target/kernels/SERIES-CPU/{vmlinuz,release}`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::Cpu;
use super::apt::{Apt, Candidate};

/// Names of packages with a kernel begin so; from 7.0 on `linux-image-*` only depends on one.
const PREFIXES: [&str; 2] = ["linux-binary-", "linux-image-"];

/// Where a kernel is kept.
pub(super) fn place(directory: &Path, series: &str, cpu: Cpu) -> PathBuf {
    directory.join(format!("{series}-{}", cpu.name()))
}

/// Is this kernel there already?
pub(super) fn is_there(directory: &Path, series: &str, cpu: Cpu) -> bool {
    // Written last.
    place(directory, series, cpu).join("release").is_file()
}

/// Fetches kernels of these series, each the newest that the mirror still has.
pub(super) fn fetch(apt: &Apt, directory: &Path, series: &[&str], cpu: Cpu) -> Result<()> {
    let mut names = Vec::new();
    for prefix in PREFIXES {
        names.extend(apt.names(prefix)?);
    }
    let of = |name: &str, series: &str| {
        PREFIXES
            .iter()
            .any(|prefix| is_kernel(name, &format!("{prefix}{series}"), cpu))
    };
    let wanted = |name: &&str| series.iter().any(|series| of(name, series));
    let names: Vec<&str> = names.iter().map(String::as_str).filter(wanted).collect();
    let candidates = apt.candidates(&names, cpu.debian())?;
    for series in series {
        let mut of_series = candidates.clone();
        of_series.retain(|candidate| of(&candidate.package, series));
        fetch_one(apt, &of_series, series, &place(directory, series, cpu))
            .with_context(|| format!("kernel {series} for {}", cpu.name()))?;
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

/// `linux-image-6.1.0-57-cloud-amd64`, also with `-unsigned`; not 6.12 for 6.1, no debug symbols, and not the name that
/// stands for the newest version (`linux-image-6.1-cloud-amd64`).
fn is_kernel(name: &str, beginning: &str, cpu: Cpu) -> bool {
    let name = name.strip_suffix("-unsigned").unwrap_or(name);
    let flavour = format!("-cloud-{}", cpu.debian());
    let middle = name
        .strip_prefix(beginning)
        .and_then(|rest| rest.strip_suffix(&flavour));
    middle.is_some_and(|middle| middle.starts_with('.'))
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

    #[test]
    fn packages_of_a_series_are_told_from_others() {
        let of = |name: &str| is_kernel(name, "linux-image-6.1", Cpu::X86_64);
        assert!(of("linux-image-6.1.0-57-cloud-amd64-unsigned"));
        assert!(of("linux-image-6.1.0-57-cloud-amd64"));
        assert!(!of("linux-image-6.1-cloud-amd64"));
        assert!(!of("linux-image-6.12.117+deb13-cloud-amd64"));
        assert!(!of("linux-image-6.1.0-57-cloud-amd64-dbg"));
        assert!(!of("linux-image-6.1.0-57-amd64"));
        assert!(!of("linux-image-6.1.0-57-cloud-arm64"));
        let name = "linux-binary-7.3.4+deb13-cloud-arm64";
        assert!(is_kernel(name, "linux-binary-7.3", Cpu::Arm64));
    }
}
