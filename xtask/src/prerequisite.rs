//! What the checks need beside a stable Rust toolchain, and where Debian has it.
//!
//! What is missing is installed as root on Debian; elsewhere one line says what to install.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::step;

/// Something that a check needs.
struct Prerequisite {
    /// A program looked for in PATH, or a file, whose path starts with a slash; one name within the
    /// path may end in `*` and stands for all that begin so.
    probe: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// What needs it.
    for_what: For,
}

/// What needs a prerequisite.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// Checks of this machine.
    Checks,
    /// These, and guests that other kernels are booted in.
    Guests,
    /// The building of a kernel only.
    KernelBuild,
}

const fn need(probe: &'static str, package: &'static str) -> Prerequisite {
    Prerequisite {
        probe,
        package,
        for_what: For::Checks,
    }
}

const fn guests_need(probe: &'static str, package: &'static str) -> Prerequisite {
    Prerequisite {
        probe,
        package,
        for_what: For::Guests,
    }
}

const fn kernels_need(probe: &'static str, package: &'static str) -> Prerequisite {
    Prerequisite {
        probe,
        package,
        for_what: For::KernelBuild,
    }
}

/// Whose prerequisites are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those of every check.
    All,
    /// Those of guests that other kernels are booted in.
    Guests,
    /// What a kernel is built with, beside those of guests.
    KernelBuild,
}

impl Wanted {
    fn is_for(self, what: For) -> bool {
        match self {
            Self::All => what != For::KernelBuild,
            Self::Guests => what == For::Guests,
            Self::KernelBuild => what == For::KernelBuild,
        }
    }
}

const PREREQUISITES: &[Prerequisite] = &[
    guests_need("gcc", "gcc"),
    guests_need("g++", "g++"),
    guests_need("musl-gcc", "musl-tools"),
    need("addr2line", "binutils"),
    need("nm", "binutils"),
    need("objcopy", "binutils"),
    need("objdump", "binutils"),
    guests_need("readelf", "binutils"),
    need("strip", "binutils"),
    need("xz", "xz-utils"),
    need("dwz", "dwz"),
    need("python3", "python3"),
    need("/usr/bin/python3", "python3"),
    need("/usr/lib/python3*/ensurepip", "python3-venv"),
    need("/usr/lib/python3/dist-packages/yaml", "python3-yaml"),
    // What the agent says of itself, and the rules that watch it.
    need("promtool", "prometheus"),
    need(
        "/usr/lib/python3/dist-packages/prometheus_client",
        "python3-prometheus-client",
    ),
    // Fetches the Go toolchains whose programs the line table is read of.
    guests_need("pip", "python3-pip"),
    need("node", "nodejs"),
    guests_need("go", "golang-go"),
    need("perf", "linux-perf"),
    need("chromium", "chromium"),
    need("mount", "mount"),
    need("umount", "mount"),
    need("unshare", "util-linux"),
    need("setpriv", "util-linux"),
    need("prlimit", "util-linux"),
    guests_need("/usr/bin/busybox", "busybox-static"),
    need("bpftool", "bpftool"),
    need("openssl", "openssl"),
    need("zstd", "zstd"),
    // The eBPF side rebuilds the standard library.
    guests_need("/usr/bin/rustc", "rustc-web"),
    guests_need("/usr/bin/cargo", "cargo-web"),
    need("/usr/lib/rustlib/src/rust", "rust-web-src"),
    // What runs on other kernels and the other CPU.
    guests_need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    guests_need("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu"),
    guests_need(
        "/usr/aarch64-linux-gnu/include/stdio.h",
        "libc6-dev-arm64-cross",
    ),
    guests_need("qemu-system-x86_64", "qemu-system-x86"),
    guests_need("qemu-system-aarch64", "qemu-system-arm"),
    need("cpio", "cpio"),
    // What kernels are built with.
    kernels_need("make", "make"),
    kernels_need("flex", "flex"),
    kernels_need("bison", "bison"),
    kernels_need("bc", "bc"),
    kernels_need("xz", "xz-utils"),
    kernels_need("pahole", "pahole"),
    kernels_need("/usr/include/libelf.h", "libelf-dev"),
];

/// Sees to it that what is wanted is there.
pub(crate) fn ensure(wanted: Wanted) -> Result<()> {
    let packages = missing(wanted);
    if packages.is_empty() {
        return Ok(());
    }
    let packages_line = packages.join(" ");
    if !is_root()? || !on_path("apt-get") {
        bail!("missing: {packages_line} (Debian: sudo apt-get install {packages_line})");
    }
    println!("installing {packages_line}");
    let apt = |arguments: &[&str]| {
        step::run(
            Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    apt(&["update", "--quiet=2"])?;
    let mut install = vec!["install", "--yes", "--quiet=2", "--no-install-recommends"];
    install.extend(&packages);
    apt(&install)?;
    let missing = missing(wanted);
    if !missing.is_empty() {
        bail!(
            "still missing after the installation: {}",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Sees to it that there is sudo, which `what` needs.
pub(crate) fn ensure_sudo(what: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    sudo_on(&path, what)
}

fn sudo_on(path: &OsStr, what: &str) -> Result<()> {
    if !is_on("sudo", path) {
        bail!(
            "{what} needs root, and sudo is missing: run this as root or install it (Debian: apt-get install sudo)"
        );
    }
    Ok(())
}

/// Is this process root's?
pub(crate) fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1));
    Ok(effective == Some("0"))
}

fn missing(wanted: Wanted) -> Vec<&'static str> {
    let mut packages: Vec<&str> = PREREQUISITES
        .iter()
        .filter(|need| wanted.is_for(need.for_what))
        .filter(|need| !present(need.probe))
        .map(|need| need.package)
        .collect();
    packages.dedup();
    packages
}

fn present(probe: &str) -> bool {
    if !probe.starts_with('/') {
        return on_path(probe);
    }
    let Some((before, after)) = probe.split_once('*') else {
        return Path::new(probe).exists();
    };
    let (directory, beginning) = before
        .rsplit_once('/')
        .expect("the path starts with a slash");
    let entries = Path::new(directory)
        .read_dir()
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .as_bytes()
                .starts_with(beginning.as_bytes())
        })
        .any(|entry| entry.path().join(after.trim_start_matches('/')).exists())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Administrators' programs are not in everybody's PATH.
    is_on(program, &path) || is_on(program, OsStr::new("/usr/sbin:/sbin"))
}

fn is_on(program: &str, path: &OsStr) -> bool {
    std::env::split_paths(path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_found_and_an_invented_one_is_not() {
        assert!(present("cargo"));
        assert!(present("/proc/self/status"));
        assert!(present("/proc/sel*/status"));
        assert!(!present("/proc/sel*/no-file-has-this-name"));
        assert!(!present("/proc/no-name-begins-so*/status"));
        assert!(!present("no-program-has-this-name"));
        assert!(!present("/no/file/has/this/name"));
    }

    #[test]
    fn a_missing_sudo_is_told_in_one_line_with_what_gets_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().as_os_str();
        let refused = sudo_on(path, "/usr/local").unwrap_err().to_string();
        assert_eq!(
            refused,
            "/usr/local needs root, and sudo is missing: run this as root or install it (Debian: apt-get install sudo)"
        );
        fs::write(directory.path().join("sudo"), "").unwrap();
        sudo_on(path, "/usr/local").unwrap();
    }

    /// What every Debian has, or whoever runs this.
    const THERE: &[&str] = &[
        "/bin/sh",
        "/bin/true",
        "apt-get",
        "base64",
        "bash",
        "cargo",
        "cat",
        "chroot",
        "cp",
        "date",
        "false",
        "git",
        "gzip",
        "ldd",
        "mkfifo",
        "rustc",
        "sh",
        "sleep",
        "sudo",
        "true",
    ];

    /// The programs that the sources of a directory start by name.
    fn started(directory: &Path, programs: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                started(&path, programs);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.split("Command::new(\"").skip(1);
                programs.extend(names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn whatever_the_tests_start_is_seen_to() {
        let mut programs = BTreeSet::new();
        for directory in ["profiler-agent", "profiler-common", "tests"] {
            started(&crate::workspace().join(directory), &mut programs);
        }
        assert!(programs.contains("readelf"), "{programs:?}");
        programs.retain(|program| {
            !THERE.contains(&program.as_str())
                && !PREREQUISITES.iter().any(|need| need.probe == program)
        });
        assert_eq!(programs, BTreeSet::new());
    }
}
