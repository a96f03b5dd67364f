//! `profiler-agent --version`.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::collect::loader;

/// The version, the commit and the eBPF object: what a report of a fault names. The digest is whole, as
/// `profiler-ebpf/object/toolchain.toml` has it. The same source gives the same text.
pub(super) fn text() -> String {
    let mut digest = String::with_capacity(64);
    for byte in Sha256::digest(loader::object()) {
        // Writing to a string does not fail.
        let _ = write!(digest, "{byte:02x}");
    }
    format!(
        "profiler-agent {}\ncommit {}\neBPF object of {}, SHA-256 {digest}",
        env!("CARGO_PKG_VERSION"),
        env!("PROFILER_COMMIT"),
        std::env::consts::ARCH,
    )
}
