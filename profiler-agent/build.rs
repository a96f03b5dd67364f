//! The agent exports the variable in which its threads publish the span that they work for, as profilers ask for.
//! `--version` names the commit.

#[path = "build/commit.rs"]
mod commit;

use std::path::{Path, PathBuf};

/// What is built, below the workspace's directory.
const SOURCES: [&str; 6] = [
    "Cargo.lock",
    "Cargo.toml",
    "profiler-agent/Cargo.toml",
    "profiler-agent/src",
    "profiler-common/src",
    "profiler-ebpf/object",
];

/// Profiles in which developers build many times a day: there a commit, which changes the build script's answer, would
/// make cargo compile the agent again although no source changed.
const PROFILES_OF_DEVELOPERS: [&str; 4] = ["debug", "emulated", "suites", "tested"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol=otel_thread_ctx_v1");
    println!("cargo:rustc-env=PROFILER_COMMIT={}", commit());
}

fn commit() -> String {
    let profile = profile();
    if PROFILES_OF_DEVELOPERS.contains(&profile.as_str()) {
        return format!("unknown (not looked up in the profile `{profile}`)");
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Some(commit) = commit::read(&workspace, &SOURCES) else {
        return "unknown".to_owned();
    };
    let sources = SOURCES.iter().map(|source| workspace.join(source));
    for path in commit.watched.into_iter().chain(sources) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    commit.text
}

/// The profile by the name of its directory: `target/PROFILE/build/PACKAGE/out`.
fn profile() -> String {
    let output = std::env::var_os("OUT_DIR").map(PathBuf::from);
    let directory = output
        .as_deref()
        .and_then(|output| output.ancestors().nth(3));
    let name = directory.and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}
