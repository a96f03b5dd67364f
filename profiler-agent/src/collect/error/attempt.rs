//! What is tried at the kernel boundary.

use super::capability::Need;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// Read the kernel's type information.
    ReadTypes,
    /// Find the CPUs of the machine.
    FindCpus,
    /// Load what the programs have in common: their type information, their relocations.
    LoadObject,
    /// Make a map.
    CreateMap(&'a str),
    /// Write to a map, or read it.
    UseMap(&'a str),
    /// Load a program.
    LoadProgram(&'a str),
    /// Attach a program to its tracepoint.
    AttachProgram(&'a str),
    /// Open the sampling event of a CPU.
    SampleCpu(u32),
    /// Let the sampling event of a CPU run its program.
    RunProgram(u32),
    /// Open the side-band (what processes do) of a CPU.
    OpenSideband(u32),
    /// Map the ring of the side-band of a CPU.
    MapSideband(u32),
}

impl Attempt<'_> {
    /// In words: the subject of the sentence.
    pub(super) fn words(self) -> String {
        match self {
            Self::ReadTypes => format!("reading the kernel's type information ({TYPES})"),
            Self::FindCpus => "reading which CPUs are online (/sys/devices/system/cpu)".to_owned(),
            Self::LoadObject => "loading the BPF object".to_owned(),
            Self::CreateMap(name) => format!("making the BPF map `{name}`"),
            Self::UseMap(name) => format!("using the BPF map `{name}`"),
            Self::LoadProgram(name) => format!("loading the BPF program `{name}`"),
            Self::AttachProgram(name) => format!("attaching the BPF program `{name}`"),
            Self::SampleCpu(cpu) => format!("sampling CPU {cpu} (perf_event_open)"),
            Self::RunProgram(cpu) => {
                format!("running the program on CPU {cpu} (PERF_EVENT_IOC_SET_BPF)")
            }
            Self::OpenSideband(cpu) => {
                format!("following the processes of CPU {cpu} (perf_event_open)")
            }
            Self::MapSideband(cpu) => format!("mapping the ring of the processes of CPU {cpu}"),
        }
    }

    /// The system call that it comes down to.
    pub(super) const fn call(self) -> &'static str {
        match self {
            Self::ReadTypes | Self::FindCpus => "open",
            Self::LoadObject => "bpf",
            Self::CreateMap(_) => "BPF_MAP_CREATE",
            Self::UseMap(_) => "BPF_MAP_UPDATE_ELEM",
            Self::LoadProgram(_) => "BPF_PROG_LOAD",
            Self::AttachProgram(_) => "BPF_RAW_TRACEPOINT_OPEN",
            Self::SampleCpu(_) | Self::OpenSideband(_) => "perf_event_open",
            Self::RunProgram(_) => "PERF_EVENT_IOC_SET_BPF",
            Self::MapSideband(_) => "mmap",
        }
    }

    /// What it needs of the process's capabilities.
    pub(super) const fn need(self) -> Option<Need> {
        match self {
            Self::ReadTypes | Self::FindCpus => None,
            Self::LoadObject | Self::CreateMap(_) | Self::UseMap(_) | Self::LoadProgram(_) => {
                Some(Need::Bpf)
            }
            Self::AttachProgram(_)
            | Self::SampleCpu(_)
            | Self::RunProgram(_)
            | Self::OpenSideband(_)
            | Self::MapSideband(_) => Some(Need::Perf),
        }
    }

    /// Is it `bpf(2)` that is called?
    pub(super) const fn is_bpf(self) -> bool {
        matches!(self.need(), Some(Need::Bpf)) || matches!(self, Self::AttachProgram(_))
    }
}

const TYPES: &str = "/sys/kernel/btf/vmlinux";
