//! Debian packages of any release and CPU, by a configuration of apt that is our own: what the machine has
//! installed, and where it installs from, stays as it is.
//!
//! Sources are the mirrors that apt is set to on this machine, with the releases that have our kernels. Indexes and
//! packages lie in one directory. A mirror's index may name versions that the mirror has no more: who asks for a
//! package takes the newest candidate that can be fetched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::step;

/// Releases with kernels of the matrix, and whether their security archive has newer ones.
const RELEASES: &[(&str, bool)] = &[
    ("bullseye", true),
    ("bookworm", true),
    ("trixie", true),
    ("bookworm-backports", false),
    ("trixie-backports", false),
];

/// How long indexes are good for: a kernel is looked for only where none is kept, so they are read rarely.
const INDEX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Fetches a file with apt's proxies and checks its sum, without reading the indexes.
const FETCH: &str = "/usr/lib/apt/apt-helper";

/// Packages that this machine could have.
pub(super) struct Apt {
    directory: PathBuf,
}

/// A version of a package, and where the mirror says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The package's name.
    pub(super) package: String,
    /// Its version, as Debian writes it.
    pub(super) version: String,
    address: String,
    file: String,
    sum: String,
}

impl Apt {
    /// Writes the configuration into a directory and fetches the indexes that are missing or old.
    pub(super) fn new(directory: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| part.display().to_string())?;
        }
        let apt = Self {
            directory: directory.to_path_buf(),
        };
        let sources = sources(&mirrors()?)?;
        let written = directory.join("sources.list");
        let fetched = directory.join("fetched");
        let same = fs::read_to_string(&written).is_ok_and(|last| last == sources);
        fs::write(&written, sources).context("sources.list")?;
        fs::write(directory.join("status"), "").context("status")?;
        fs::write(directory.join("apt.conf"), apt.configuration()).context("apt.conf")?;
        let age = fetched.metadata().and_then(|file| file.modified());
        let fresh = age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < INDEX_AGE));
        if !same || !fresh {
            step::run(apt.command("apt-get").args(["update", "--quiet=2"]))?;
            fs::write(&fetched, "").context("fetched")?;
        }
        Ok(apt)
    }

    /// Names of the packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = step::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// What the mirror has of packages of an architecture (`NAME`, `NAME=VERSION`), newest first.
    pub(super) fn candidates(
        &self,
        packages: &[&str],
        architecture: &str,
    ) -> Result<Vec<Candidate>> {
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = self.command("apt-get");
        command.args(["download", "--print-uris"]);
        for package in packages {
            let (name, version) = package.split_at(package.find('=').unwrap_or(package.len()));
            command.arg(format!("{name}:{architecture}{version}"));
        }
        let mut candidates: Vec<Candidate> = step::output(&mut command)?
            .lines()
            .filter_map(parse)
            .collect();
        candidates.sort_by_key(|candidate| std::cmp::Reverse(numbers(&candidate.version)));
        Ok(candidates)
    }

    /// Fetches a package of one name, or of one name and version; its file.
    pub(super) fn fetch(&self, package: &str, architecture: &str) -> Result<PathBuf> {
        let candidates = self.candidates(&[package], architecture)?;
        self.fetch_first(&candidates, |_, file| Ok(file))
            .with_context(|| format!("{package} for {architecture}"))
    }

    /// Hands the candidates' files to `take`, in their order, until it succeeds.
    pub(super) fn fetch_first<T>(
        &self,
        candidates: &[Candidate],
        mut take: impl FnMut(&Candidate, PathBuf) -> Result<T>,
    ) -> Result<T> {
        for candidate in candidates {
            match self
                .fetch_candidate(candidate)
                .and_then(|file| take(candidate, file))
            {
                Ok(taken) => return Ok(taken),
                Err(error) => println!("{} {}: {error:#}", candidate.package, candidate.version),
            }
        }
        bail!("none of {} candidates can be fetched", candidates.len())
    }

    fn fetch_candidate(&self, candidate: &Candidate) -> Result<PathBuf> {
        let file = self.directory.join("packages").join(&candidate.file);
        if !file.is_file() {
            let mut command = self.command(FETCH);
            command.args(["download-file", &candidate.address]);
            let output = command
                .arg(&file)
                .arg(&candidate.sum)
                .output()
                .with_context(|| format!("cannot start {FETCH}"))?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.success(),
                "{}",
                errors.lines().next().unwrap_or("no reason is given")
            );
        }
        Ok(file)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.directory.join("apt.conf"));
        command
    }

    fn configuration(&self) -> String {
        let path = |name: &str| self.directory.join(name).display().to_string();
        [
            format!("Dir::Etc::sourcelist \"{}\";", path("sources.list")),
            "Dir::Etc::sourceparts \"-\";".to_owned(),
            format!("Dir::State::lists \"{}\";", path("lists")),
            format!("Dir::State::status \"{}\";", path("status")),
            format!("Dir::Cache \"{}\";", path("cache")),
            "APT::Architectures {\"amd64\";\"arm64\";};".to_owned(),
            // Its own user may not read below a home directory.
            "APT::Sandbox::User \"root\";".to_owned(),
            "Acquire::Languages \"none\";".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";".to_owned(),
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";".to_owned(),
            // Releases that are no longer cared for are what we are after.
            "Acquire::Check-Valid-Until \"false\";".to_owned(),
            "Acquire::Retries \"1\";".to_owned(),
        ]
        .join("\n")
    }
}

/// The addresses that apt has packages of Debian from on this machine.
fn mirrors() -> Result<Vec<String>> {
    let format = ["indextargets", "--format", "$(REPO_URI)"];
    let text = step::output(Command::new("apt-get").args(format))
        .context("kernels are packages of Debian, which apt fetches")?;
    let mut mirrors: Vec<String> = Vec::new();
    for line in text.lines() {
        let address = line.trim_end_matches('/').to_owned();
        if !mirrors.contains(&address) {
            mirrors.push(address);
        }
    }
    Ok(mirrors)
}

fn sources(mirrors: &[String]) -> Result<String> {
    let ends = |end: &str| mirrors.iter().find(|mirror| mirror.ends_with(end));
    let main = ends("/debian").context(
        "apt is not set to a mirror of Debian (an address that ends in /debian), where the kernels are",
    )?;
    let security = ends("/debian-security");
    let mut text = String::new();
    for (release, secured) in RELEASES {
        text += &format!("deb {main} {release} main\n");
        if let Some(security) = security.filter(|_| *secured) {
            text += &format!("deb {security} {release}-security main\n");
        }
    }
    Ok(text)
}

/// A line of `apt-get download --print-uris`: `'ADDRESS' PACKAGE_VERSION_ARCHITECTURE.deb LENGTH KIND:SUM`.
fn parse(line: &str) -> Option<Candidate> {
    let (address, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split(' ');
    let file = words.next()?;
    let sum = words.nth(1)?;
    let mut parts = file.split('_');
    Some(Candidate {
        package: parts.next()?.to_owned(),
        version: parts.next()?.replace("%3a", ":"),
        address: address.to_owned(),
        file: file.to_owned(),
        sum: sum.to_owned(),
    })
}

/// The numbers of a version, for versions of one kernel or library: which of two is newer.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_shows_is_read() {
        let line = "'http://a/b/c_1%3a2-3%2b4_arm64.deb' c_1%3a2-3+4_arm64.deb 847552 SHA256:00ff";
        let candidate = parse(line).unwrap();
        assert_eq!(
            candidate,
            Candidate {
                package: "c".to_owned(),
                version: "1:2-3+4".to_owned(),
                address: "http://a/b/c_1%3a2-3%2b4_arm64.deb".to_owned(),
                file: "c_1%3a2-3+4_arm64.deb".to_owned(),
                sum: "SHA256:00ff".to_owned(),
            }
        );
        assert_eq!(parse("Reading package lists..."), None);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let mut versions = ["6.1.99-1", "6.1.192-3", "6.1.192-12", "6.1.192-3~bpo11+1"];
        versions.sort_by_key(|version| numbers(version));
        assert_eq!(
            versions,
            ["6.1.99-1", "6.1.192-3", "6.1.192-3~bpo11+1", "6.1.192-12"]
        );
    }

    #[test]
    fn sources_are_the_machine_s_mirrors() {
        let mirrors = [
            "http://a/tools",
            "http://b/debian",
            "http://b/debian-security",
        ];
        let text = sources(&mirrors.map(str::to_owned)).unwrap();
        assert!(text.contains("deb http://b/debian bullseye main\n"));
        assert!(text.contains("deb http://b/debian-security bullseye-security main\n"));
        assert!(!text.contains("backports-security"));
        assert!(sources(&["http://a/ubuntu".to_owned()]).is_err());
    }
}
