//! Names for locations that have none, so that no part of a stack vanishes from a flame graph.

use std::borrow::Cow;

use profiler_common::unwind::Outcome;

use crate::profile::{ElfAddress, Executable, FileOffset, KernelAddress};

/// The kernel's mapping.
pub(super) const KERNEL: &str = "[kernel]";
/// The mapping of BPF programs.
pub(super) const BPF: &str = "[bpf]";
/// The mapping of trampolines of the kernel's tracers.
pub(super) const TRAMPOLINE: &str = "[trampoline]";
/// The mapping of anonymous memory.
pub(super) const ANONYMOUS: &str = "[anonymous]";
/// Code in anonymous memory that no perf map names. One frame for all of it: addresses of generated
/// code mean nothing to a person, and would scatter it over thousands of frames.
pub(super) const JIT: &str = "[jit]";
/// Where the kernel has put a trampoline in the place of a return address, so that a probe sees the return.
pub(super) const RETURN_PROBE: &str = "[uretprobe]";
/// An address in no mapping.
pub(super) const UNKNOWN: &str = "[unknown]";

/// `libfoo.so+0x1a2b`: the file and the address as it states it; where it states none, the offset.
pub(super) fn file(executable: &Executable, offset: FileOffset) -> String {
    let address = executable
        .elf_address(offset)
        .unwrap_or(ElfAddress(offset.0));
    format!("{}+{address}", executable.name())
}

/// `[kernel]+0x...`.
pub(super) fn kernel(address: KernelAddress) -> String {
    format!("{KERNEL}+{address}")
}

/// `[truncated]`, `[unwind: no_rule]`: where the walk ended short of the root.
pub(super) fn broken(outcome: Outcome) -> Cow<'static, str> {
    match outcome {
        Outcome::Truncated => Cow::Borrowed("[truncated]"),
        other => Cow::Owned(format!("[unwind: {}]", other.name())),
    }
}
