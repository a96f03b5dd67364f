//! Harness of the suites: builds programs whose truth is known ([`build`], [`bulk`]), runs them
//! ([`workload`]), profiles them with the real agent ([`agent`]), reads what it saved with
//! independent readers ([`pprof`], [`python`]) and compares ([`claim`], [`debug_info`]). [`daemon`]
//! runs the agent as a daemon, [`receiver`] keeps what it sends, [`authority`] signs certificates, [`peer`] are the
//! programs of others that it works with; [`measure`] tells
//! what either costs, [`quota`] is a share of a CPU. [`manifest`] is what is deployed. [`go`] builds programs with every version of Go
//! and has them say what their runtime knows. [`kernels`] boots other kernels. [`lies`] and [`fuse`] are
//! programs and file systems that mean no good.
//!
//! The suites profile the machine they run on: they need root and a kernel with BPF, and fail with
//! the fix where they have not.

pub mod agent;
pub mod authority;
pub mod build;
pub mod bulk;
pub mod claim;
pub mod daemon;
pub mod debug_info;
pub mod fuse;
pub mod go;
pub mod kernels;
pub mod lies;
pub mod manifest;
pub mod measure;
pub mod peer;
pub mod pprof;
pub mod python;
pub mod quota;
pub mod receiver;
pub mod waits;
pub mod workload;

use std::path::{Path, PathBuf};

/// The workspace's directory.
#[must_use]
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("the tests lie in the workspace")
        .to_path_buf()
}

/// Where the workloads' sources are.
#[must_use]
pub fn sources() -> PathBuf {
    workspace().join("tests/workloads")
}
