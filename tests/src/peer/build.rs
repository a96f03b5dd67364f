//! Builds the peers into `target/peers`, again when the digest of a peer's sources has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::workspace;

/// The module of the eBPF profiler of OpenTelemetry.
const EBPF_PROFILER: &str = "go.opentelemetry.io/ebpf-profiler";

/// An OpenTelemetry collector: receiver `otlp`; exporters `file`, `otlp_grpc`, `otlp_http`, `debug` and
/// `nop`.
///
/// # Panics
///
/// When it cannot be built; so do all of this module.
#[must_use]
pub fn collector() -> PathBuf {
    build("collector", |sources, result| {
        go_build(sources, result);
    })
}

/// The eBPF profiler of OpenTelemetry, with its limit of locked memory left alone.
#[must_use]
pub fn ebpf_profiler() -> PathBuf {
    build("ebpf-profiler", |sources, result| {
        finish(go(sources).args(["mod", "download"]));
        let module = finish(go(sources).args(["list", "-m", "-f", "{{.Dir}}", EBPF_PROFILER]));
        // Files of the module cache cannot be replaced: a copy's can.
        let copy = result.with_extension("source");
        if copy.exists() {
            fs::remove_dir_all(&copy).expect("an earlier copy can be removed");
        }
        let mut copying = Command::new("cp");
        copying.args(["-r", "--no-preserve=mode", module.trim()]);
        finish(copying.arg(&copy));
        fs::copy(
            sources.join("rlimit/rlimit.go"),
            copy.join("rlimit/rlimit.go"),
        )
        .expect("the copy can be written");
        go_build(&copy, result);
        fs::remove_dir_all(&copy).expect("the copy can be removed");
    })
}

/// The version of the eBPF profiler, as its sources name it.
#[must_use]
pub fn ebpf_profiler_version() -> String {
    let manifest = fs::read_to_string(sources("ebpf-profiler").join("go.mod")).expect("a go.mod");
    let mut words = manifest.split_whitespace();
    words.find(|word| *word == EBPF_PROFILER);
    words
        .next()
        .expect("a version follows the module")
        .to_owned()
}

fn sources(name: &str) -> PathBuf {
    workspace().join("tests/peers").join(name)
}

/// Calls `make` with the sources and where the result is to be, unless it was made from the same.
fn build(name: &str, make: impl FnOnce(&Path, &Path)) -> PathBuf {
    let directory = workspace().join("target/peers");
    fs::create_dir_all(&directory).expect("target/peers can be made");
    let (result, digest_file) = (
        directory.join(name),
        directory.join(format!("{name}.sha256")),
    );
    let sources = sources(name);
    let digest = digest(&sources);
    let same = fs::read_to_string(&digest_file).is_ok_and(|last| last == digest);
    if same && result.is_file() {
        return result;
    }
    eprintln!("building {name} from Go modules: minutes, the first time");
    // Whoever builds at the same time replaces a whole file.
    let fresh = directory.join(format!("{name}-{}", std::process::id()));
    make(&sources, &fresh);
    fs::rename(&fresh, &result).expect("the result can be put in place");
    fs::write(&digest_file, digest).expect("the digest can be written");
    result
}

fn go_build(sources: &Path, result: &Path) {
    let mut command = go(sources);
    command.args(["build", "-ldflags", "-s -w", "-o"]);
    finish(command.arg(result).arg("."));
}

fn go(directory: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(directory)
        .env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false")
        .env("GOWORK", "off");
    command
}

/// The output of a command that succeeds.
fn finish(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{error}: {command:?}: peers are built by Go 1.26 or later")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("paths are UTF-8")
}

/// SHA-256 of the names and contents of all files of a directory.
fn digest(directory: &Path) -> String {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("sources are there") {
            let path = entry.expect("sources can be listed").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        let name = file.strip_prefix(directory).expect("found below it");
        let content = fs::read(&file).expect("sources can be read");
        // Lengths, so that no two trees are the same text.
        digest.update(format!("{} {}\n", name.display(), content.len()));
        digest.update(content);
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_names_and_contents() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            fs::create_dir_all(directory.path().join("below")).unwrap();
            fs::write(directory.path().join(name), content).unwrap();
            digest(directory.path())
        };
        let first = write("a.go", "package a");
        assert_eq!(first, write("a.go", "package a"));
        let changed = write("a.go", "package b");
        assert_ne!(first, changed);
        assert_ne!(changed, write("below/c.go", ""));
        assert_eq!(first.len(), 64);
    }

    #[test]
    fn the_version_is_the_modules() {
        let version = ebpf_profiler_version();
        assert!(version.starts_with("v0.0."), "{version}");
    }
}
