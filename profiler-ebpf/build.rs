//! Tells the code which machine it is for, in the way that the build scripts of aya's crates tell theirs: without a flag of the
//! compiler, so that the standard library is the same for all.

const MACHINE: &str = "AYA_BPF_TARGET_ARCH";

fn main() {
    println!("cargo::rerun-if-env-changed={MACHINE}");
    let machine = std::env::var(MACHINE).expect("`cargo xtask build-ebpf` says which machine");
    println!("cargo::rustc-cfg=bpf_target_arch=\"{machine}\"");
}
