//! Builds the workloads into `target/workloads`, again when a source or the command has changed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::go::toolchain::Toolchain;
use crate::{sources, workspace};

/// What every C and C++ workload is built with: optimized, without frame pointers, with symbols and
/// debug information.
const FLAGS: &[&str] = &[
    "-O2",
    "-g",
    "-fomit-frame-pointer",
    "-Wall",
    "-Wextra",
    "-Werror",
];

/// A C program, dynamically linked.
#[must_use]
pub fn c(name: &str) -> PathBuf {
    c_with(name, name, "gcc", &["-pthread"])
}

/// A C program with its own compiler and flags; `variant` names the result.
#[must_use]
pub fn c_with(name: &str, variant: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let source = sources().join("c").join(format!("{name}.c"));
    let mut command = Command::new(compiler);
    command.args(FLAGS).arg(&source).args(flags);
    build(variant, &mut command, &sources().join("c"))
}

/// A shared library from a C source; the flags follow the source.
#[must_use]
pub fn c_library(name: &str, variant: &str, flags: &[&str]) -> PathBuf {
    let mut all = vec!["-shared", "-fPIC"];
    all.extend(flags);
    c_with(name, &format!("lib{variant}.so"), "gcc", &all)
}

/// A C++ program with its own flags; `stripped` is for libraries in the middle of stacks.
#[must_use]
pub fn cpp(name: &str, variant: &str, flags: &[&str]) -> PathBuf {
    cpp_with(name, variant, "g++", flags)
}

/// A C++ program with its own compiler and flags; `variant` names the result.
#[must_use]
pub fn cpp_with(name: &str, variant: &str, compiler: &str, flags: &[&str]) -> PathBuf {
    let source = sources().join("cpp").join(format!("{name}.cpp"));
    let mut command = Command::new(compiler);
    command.args(FLAGS).arg(&source).args(flags);
    build(variant, &mut command, &sources().join("cpp"))
}

/// The Rust program, in release with line tables; its own cargo workspace.
#[must_use]
pub fn rust() -> PathBuf {
    rust_program("workload")
}

/// One of the programs of the Rust workspace.
#[must_use]
pub fn rust_program(name: &str) -> PathBuf {
    let target = directory().join("rust");
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
        .arg(&target)
        .current_dir(sources().join("rust"));
    finish(&mut command);
    target.join("release").join(name)
}

/// The Go program.
#[must_use]
pub fn go() -> PathBuf {
    let mut command = Command::new("go");
    command
        .arg("build")
        .env("GOFLAGS", "-trimpath")
        .current_dir(sources().join("go"));
    build("go-split", &mut command, &sources().join("go"))
}

/// The Go program whose goroutines label their work, built by a version of Go.
#[must_use]
pub fn go_labels(toolchain: &Toolchain) -> PathBuf {
    go_labels_for(toolchain, "amd64")
}

/// The same for a CPU, by Go's name of it.
#[must_use]
pub fn go_labels_for(toolchain: &Toolchain, architecture: &str) -> PathBuf {
    let directory = sources().join("go-labels");
    let mut command = toolchain.command();
    command
        .args(["build", "-buildvcs=false", "-trimpath"])
        .env("GOARCH", architecture)
        .current_dir(&directory);
    build(
        &format!("go-labels-{}-{architecture}", toolchain.version),
        &mut command,
        &directory,
    )
}

/// The Go program whose labels are constants that it never reads, and the plugin that it loads.
#[must_use]
pub fn go_constants() -> (PathBuf, PathBuf) {
    let build = |name: &str, package: &str, mode: &str| {
        let directory = sources().join(package);
        let mut command = Command::new("go");
        command
            .args(["build", "-buildvcs=false", "-trimpath", mode])
            .env("CGO_ENABLED", "1")
            .current_dir(&directory);
        build(name, &mut command, &directory)
    };
    (
        build("go-constants", "go-constants", "-buildmode=default"),
        build("go-plugin.so", "go-constants/plugin", "-buildmode=plugin"),
    )
}

/// The Go program that works with four labels or without.
#[must_use]
pub fn go_cost() -> PathBuf {
    let mut command = Command::new("go");
    command
        .arg("build")
        .env("GOFLAGS", "-trimpath")
        .current_dir(sources().join("go-cost"));
    build("go-cost", &mut command, &sources().join("go-cost"))
}

fn directory() -> PathBuf {
    let directory = workspace().join("target/workloads");
    fs::create_dir_all(&directory).expect("target/workloads can be made");
    directory
}

/// Runs `command` with `-o RESULT` unless the result is newer than all `inputs` and was made by the
/// same command.
pub(crate) fn build(variant: &str, command: &mut Command, inputs: &Path) -> PathBuf {
    let result = directory().join(variant);
    let recipe_file = directory().join(format!("{variant}.recipe"));
    let recipe = format!("{command:?}");
    let same = fs::read_to_string(&recipe_file).is_ok_and(|last| last == recipe);
    if same && modified(&result) > newest(inputs) {
        return result;
    }
    // Whoever runs the old one keeps it; who builds at the same time replaces a whole file.
    let fresh = directory().join(format!("{variant}.{}", std::process::id()));
    command.arg("-o").arg(&fresh);
    finish(command);
    fs::rename(&fresh, &result).expect("the result can be put in place");
    fs::write(&recipe_file, recipe).expect("the recipe can be written");
    result
}

fn finish(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{error}: {command:?}: `cargo xtask test` installs what the workloads need")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn newest(inputs: &Path) -> SystemTime {
    // What C++ programs include lies beside the C programs.
    [inputs, sources().join("c").as_path()]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).expect("sources are there"))
        .map(|entry| modified(&entry.expect("sources can be listed").path()))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn modified(file: &Path) -> SystemTime {
    file.metadata()
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A path as an argument of a command line that is text.
#[must_use]
pub fn text(path: &impl AsRef<OsStr>) -> &str {
    path.as_ref()
        .to_str()
        .expect("paths of workloads are UTF-8")
}
