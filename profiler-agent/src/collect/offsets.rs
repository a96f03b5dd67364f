//! Where the running kernel keeps what the programs read: their constants.

use super::CollectError;
use super::btf::KernelTypes;
use super::error::Attempt;

/// Byte offsets of fields of `task_struct`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) flags: u32,
    pub(super) tgid: u32,
    pub(super) pid: u32,
    pub(super) stack: u32,
    pub(super) signal: u32,
    /// Within `signal_struct`, to which `signal` points.
    pub(super) live: u32,
    pub(super) thread_pointer: u32,
    pub(super) return_probes: ReturnProbes,
}

/// Where a task keeps the return addresses that return probes replaced (`include/linux/uprobes.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReturnProbes {
    /// `task_struct.utask`; 0: this kernel has no such probes.
    pub(super) task: u32,
    /// `uprobe_task.return_instances`.
    pub(super) instances: u32,
    /// `return_instance.stack`.
    pub(super) stack: u32,
    /// `return_instance.orig_ret_vaddr`.
    pub(super) address: u32,
    /// `return_instance.next`.
    pub(super) next: u32,
}

impl ReturnProbes {
    fn find(types: &KernelTypes<'_>) -> Option<Self> {
        let instance = |field| types.offset("return_instance", field).ok();
        Some(Self {
            task: types.offset("task_struct", "utask").ok()?,
            instances: types.offset("uprobe_task", "return_instances").ok()?,
            stack: instance("stack")?,
            address: instance("orig_ret_vaddr")?,
            next: instance("next")?,
        })
    }
}

/// Where a task keeps its thread pointer: `struct thread_struct` of the machine
/// (`arch/*/include/asm/processor.h`).
#[cfg(target_arch = "x86_64")]
const THREAD_POINTER: &[&str] = &["thread", "fsbase"];
/// Where a task keeps its thread pointer: `struct thread_struct` of the machine
/// (`arch/*/include/asm/processor.h`).
#[cfg(target_arch = "aarch64")]
const THREAD_POINTER: &[&str] = &["thread", "uw", "tp_value"];

impl Offsets {
    /// Reads them of the running kernel.
    pub(super) fn read() -> Result<Self, CollectError> {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux")
            .map_err(|error| CollectError::explained(Attempt::ReadTypes, &error))?;
        let offsets = KernelTypes::parse(&bytes).and_then(|types| {
            Ok(Self {
                flags: types.offset("task_struct", "flags")?,
                tgid: types.offset("task_struct", "tgid")?,
                pid: types.offset("task_struct", "pid")?,
                stack: types.offset("task_struct", "stack")?,
                signal: types.offset("task_struct", "signal")?,
                live: types.offset("signal_struct", "live")?,
                thread_pointer: types.offset_of_path("task_struct", THREAD_POINTER)?,
                return_probes: ReturnProbes::find(&types).unwrap_or_default(),
            })
        });
        #[cfg(feature = "fault-injection")]
        let offsets = offsets.map(super::fault::displace);
        offsets.map_err(|error| CollectError::Kernel {
            missing: error.to_string(),
            fix: "Report this kernel: its type information is unusual.",
        })
    }
}
