//! Where the running kernel keeps what the programs read: their constants.

use super::CollectError;
use super::btf::KernelTypes;
use super::error::Attempt;
use super::off_cpu;

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
    /// `__state`, or `state` in older kernels.
    pub(super) state: u32,
    pub(super) start_time: u32,
    /// `sched_info.run_delay`; 0: this kernel has none.
    pub(super) run_delay: u32,
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
    /// Reads them of the running kernel, and whether it keeps what programs note of a task without harm
    /// (`off_cpu::keeps_stays`).
    pub(super) fn read() -> Result<(Self, bool), CollectError> {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux")
            .map_err(|error| CollectError::explained(Attempt::ReadTypes, &error))?;
        let mut keeps_stays = false;
        let offsets = KernelTypes::parse(&bytes).and_then(|types| {
            keeps_stays = off_cpu::keeps_stays(&types);
            Ok(Self {
                flags: types.offset("task_struct", "flags")?,
                tgid: types.offset("task_struct", "tgid")?,
                pid: types.offset("task_struct", "pid")?,
                stack: types.offset("task_struct", "stack")?,
                signal: types.offset("task_struct", "signal")?,
                live: types.offset("signal_struct", "live")?,
                thread_pointer: types.offset_of_path("task_struct", THREAD_POINTER)?,
                state: types
                    .offset("task_struct", "__state")
                    .or_else(|_| types.offset("task_struct", "state"))?,
                start_time: types.offset("task_struct", "start_time")?,
                run_delay: types
                    .offset_of_path("task_struct", &["sched_info", "run_delay"])
                    .unwrap_or(0),
                return_probes: ReturnProbes::find(&types).unwrap_or_default(),
            })
        });
        #[cfg(feature = "fault-injection")]
        let offsets = offsets.map(super::fault::displace);
        let offsets = offsets.map_err(|error| CollectError::Kernel {
            missing: error.to_string(),
            fix: "Report this kernel: its type information is unusual.",
        })?;
        Ok((offsets, keeps_stays))
    }
}
