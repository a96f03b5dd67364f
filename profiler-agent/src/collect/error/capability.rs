//! Capabilities: which the agent needs, what it loses without each of the others. Pure.

use super::Host;

/// A capability (`include/uapi/linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    bit: u8,
    /// Its name.
    pub name: &'static str,
    /// What the agent does with it.
    pub purpose: &'static str,
    /// What is lost without it; empty where nothing works.
    pub cost: &'static str,
}

/// Loads programs, makes maps.
pub const BPF: Capability = Capability {
    bit: 39,
    name: "CAP_BPF",
    purpose: "it loads the programs and makes their maps",
    cost: "",
};
/// Opens perf events of all CPUs, lets programs read kernel memory.
pub const PERFMON: Capability = Capability {
    bit: 38,
    name: "CAP_PERFMON",
    purpose: "it opens the perf events of every CPU and lets the programs read kernel memory",
    cost: "",
};
/// Stands for both where the kernel does not know them, and where it asks for more.
pub const SYS_ADMIN: Capability = Capability {
    bit: 21,
    name: "CAP_SYS_ADMIN",
    purpose: "this kernel asks for it where others ask for CAP_BPF and CAP_PERFMON",
    cost: "",
};
const SYS_PTRACE: Capability = Capability {
    bit: 19,
    name: "CAP_SYS_PTRACE",
    purpose: "it reads the mappings and the memory of other users' processes",
    cost: "processes of other users have neither names nor unwind tables, and no labels",
};
const DAC_READ_SEARCH: Capability = Capability {
    bit: 2,
    name: "CAP_DAC_READ_SEARCH",
    purpose: "it reads executables whatever their permissions",
    cost: "executables that only their owner may read have neither names nor unwind tables",
};
/// Reads the addresses of kernel symbols.
pub const SYSLOG: Capability = Capability {
    bit: 34,
    name: "CAP_SYSLOG",
    purpose: "it reads the addresses of kernel symbols",
    cost: "functions of the kernel have no names",
};
const CHECKPOINT_RESTORE: Capability = Capability {
    bit: 40,
    name: "CAP_CHECKPOINT_RESTORE",
    purpose: "it opens executables through their mappings",
    cost: "executables that were deleted, replaced or lie in other mount namespaces may have no names",
};
const DAC_OVERRIDE_BIT: u8 = 1;
/// Lets a process raise its hard limits.
pub const SYS_RESOURCE: Capability = Capability {
    bit: 24,
    name: "CAP_SYS_RESOURCE",
    purpose: "it raises the limit of locked memory",
    cost: "",
};
/// Lets a process lock memory without limit.
pub const IPC_LOCK: Capability = Capability {
    bit: 14,
    name: "CAP_IPC_LOCK",
    purpose: "it locks the memory of the rings of perf events without limit",
    cost: "",
};

/// The effective capabilities of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// Is it among them?
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.has_bit(capability.bit)
    }

    const fn has_bit(self, bit: u8) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// The same without one.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.bit))
    }
}

/// What a step at the kernel boundary needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `bpf(2)`.
    Bpf,
    /// `perf_event_open(2)`, and programs that read kernel memory.
    Perf,
}

/// The capability that this process lacks for `need`.
#[must_use]
pub fn missing_for(need: Need, host: &Host) -> Option<Capability> {
    let capabilities = host.capabilities;
    if capabilities.has(SYS_ADMIN) {
        return None;
    }
    let wanted = match need {
        // Distributions added a level to this setting at which nothing less will do.
        Need::Perf if host.perf_event_paranoid.is_some_and(|level| level > 2) => SYS_ADMIN,
        Need::Bpf => BPF,
        Need::Perf => PERFMON,
    };
    let wanted = if wanted.bit > host.last_capability {
        SYS_ADMIN
    } else {
        wanted
    };
    (!capabilities.has(wanted)).then_some(wanted)
}

/// Everything that the agent cannot run without and this process lacks.
#[must_use]
pub fn missing(host: &Host) -> Vec<Capability> {
    let mut missing: Vec<Capability> = [Need::Bpf, Need::Perf]
        .into_iter()
        .filter_map(|need| missing_for(need, host))
        .collect();
    missing.dedup();
    missing
}

/// The capabilities that this process lacks and that the agent runs without, losing something.
#[must_use]
pub fn losses(host: &Host) -> Vec<Capability> {
    let capabilities = host.capabilities;
    let mut lost = Vec::new();
    if !capabilities.has(SYS_PTRACE) {
        lost.push(SYS_PTRACE);
    }
    if !capabilities.has(DAC_READ_SEARCH) && !capabilities.has_bit(DAC_OVERRIDE_BIT) {
        lost.push(DAC_READ_SEARCH);
    }
    if !capabilities.has(SYSLOG) && !host.kernel_symbols_are_public {
        lost.push(SYSLOG);
    }
    if !capabilities.has(CHECKPOINT_RESTORE) && !capabilities.has(SYS_ADMIN) {
        lost.push(if CHECKPOINT_RESTORE.bit > host.last_capability {
            Capability {
                name: SYS_ADMIN.name,
                ..CHECKPOINT_RESTORE
            }
        } else {
            CHECKPOINT_RESTORE
        });
    }
    lost
}
