//! Builds, checks and runs the profiler: `cargo xtask help`.

fn main() {}
