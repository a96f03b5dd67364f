//! Code that the kernel makes while it runs: BPF programs, and trampolines of its tracers.

/// Identifies a piece of such code within one run of the agent: another one at the same address later is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelCodeId(pub u32);

/// What made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelCodeKind {
    /// A BPF program, or what the kernel generates to call one.
    Bpf,
    /// A trampoline of ftrace or kprobes.
    Trampoline,
}

/// A piece of code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelCode {
    /// Which.
    pub id: KernelCodeId,
    /// What made it.
    pub kind: KernelCodeKind,
    /// Its symbol, as `/proc/kallsyms` would list it. A program's own part of it comes from whoever loaded it.
    pub name: Box<str>,
}
