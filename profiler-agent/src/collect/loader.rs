//! Loads the eBPF programs into the running kernel.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Instant;

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};
use profiler_common::unwind::AddressMask;

use super::counters::Counters;
use super::error::Attempt;
use super::of_maps::ArrayOf;
use super::offsets::Offsets;
use super::program::{self, ProgramCost};
use super::publish::Publisher;
use super::rings::Rings;
use super::sampler::Sampler;
use super::traces::Traces;
use super::way::{self, Way};
use super::{CollectError, address_mask, cpus};
use crate::profile::SamplePeriod;

/// The object for the machine that the agent was built for.
#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] =
    aya::include_bytes_aligned!("../../../profiler-ebpf/object/profiler-x86_64.bpf.o");
/// The object for the machine that the agent was built for.
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] =
    aya::include_bytes_aligned!("../../../profiler-ebpf/object/profiler-aarch64.bpf.o");

/// Which processes are sampled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All of the machine.
    #[default]
    All,
    /// Those added with [`Kernel::select`].
    Processes {
        /// Their children too.
        children: bool,
    },
}

/// How to sample.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// CPU time between two samples of a CPU.
    pub period: SamplePeriod,
    /// Which processes.
    pub selection: Selection,
    /// Bytes of unwind tables that the kernel side may hold.
    pub table_budget: u64,
    /// How to repeat the steps of a walk; `None`: the first way that the kernel takes.
    pub way: Option<Way>,
}

/// The kernel side, loaded.
pub struct Kernel {
    programs: Ebpf,
    way: Way,
    finds_user_registers: bool,
    address_mask: AddressMask,
    selected: HashMap<MapData, u32, u8>,
    /// Reads samples.
    pub rings: Rings,
    /// Takes samples.
    pub sampler: Sampler,
    /// Reads counters.
    pub counters: Counters,
    /// Writes processes and tables.
    pub publisher: Publisher,
    /// Follows the map of an instrumentation from outside.
    pub traces: Traces,
}

impl Kernel {
    /// Probes the kernel, loads the programs, starts to follow forks and execs. Sampling is off.
    pub fn load(options: &LoadOptions) -> Result<(Self, Vec<ProgramCost>), CollectError> {
        Self::load_object(OBJECT, options)
    }

    /// Like [`Kernel::load`], with another build of the object.
    pub fn load_object(
        object: &[u8],
        options: &LoadOptions,
    ) -> Result<(Self, Vec<ProgramCost>), CollectError> {
        require_host_pid_namespace()?;
        let possible_cpus =
            cpus::possible().map_err(|error| CollectError::explained(Attempt::FindCpus, &error))?;
        let btf = Btf::from_sys_fs()
            .map_err(|error| CollectError::explained(Attempt::ReadTypes, &error))?;
        let ring_bytes = ring_bytes(options.period);
        let mut programs = open(object, &btf, options, possible_cpus, ring_bytes)?;
        let (way, cost) = way::load(&mut programs, options.way)?;
        let mut costs = vec![cost];
        let finds_user_registers =
            way == Way::Helper || way::find_user_registers(&mut programs, &btf);
        for (name, tracepoint) in [
            ("process_fork", "sched_process_fork"),
            ("process_exec", "sched_process_exec"),
            ("process_exit", "sched_process_exit"),
            ("process_free", "sched_process_free"),
        ] {
            costs.push(program::load_tracepoint(
                &mut programs,
                name,
                tracepoint,
                &btf,
            )?);
        }
        let sample = way::program(&programs, way)?;
        let sample = sample
            .fd()
            .map_err(|error| program::refused(way.program(), &error))?;
        let sampler = Sampler::new(sample.as_fd(), options.period)?;
        let kernel = Self {
            selected: take(&mut programs, "SELECTED")?,
            rings: Rings::new(
                take::<ArrayOfMaps<_, MapData>>(&mut programs, "RINGS")?,
                ring_bytes,
            ),
            sampler,
            counters: Counters::new(take::<PerCpuArray<_, _>>(&mut programs, "COUNTS")?),
            publisher: Publisher::new(
                take::<HashMap<_, _, _>>(&mut programs, "PROCESSES")?,
                take::<Array<_, _>>(&mut programs, "CHUNKS")?,
                take::<Array<_, _>>(&mut programs, "RULES")?,
                take::<Array<_, _>>(&mut programs, "RUNTIMES")?,
                ArrayOf::take(&mut programs, "SEGMENTS")?,
                options.table_budget,
            )?,
            traces: Traces::new([
                ArrayOf::take(&mut programs, "TRACES")?,
                ArrayOf::take(&mut programs, "TRACES_UNTYPED")?,
            ]),
            way,
            finds_user_registers,
            address_mask: address_mask::learn(),
            programs,
        };
        Ok((kernel, costs))
    }

    /// Selects a process: its samples are taken from now on.
    pub fn select(&mut self, pid: u32) -> Result<(), CollectError> {
        self.selected
            .insert(pid, 1, 0)
            .map_err(|source| CollectError::Map {
                map: "SELECTED",
                source,
            })
    }

    /// Is this process selected, by name or as a child of one?
    #[must_use]
    pub fn is_selected(&self, pid: u32) -> bool {
        self.selected.get(&pid, 0).is_ok()
    }

    /// Samples the CPUs that are online, and no others.
    ///
    /// # Errors
    /// None of them can be sampled.
    pub fn follow_cpus(&mut self) -> Result<(), CollectError> {
        let online =
            cpus::online().map_err(|error| CollectError::explained(Attempt::FindCpus, &error))?;
        let rings = &mut self.rings;
        self.sampler
            .follow(&online, Instant::now(), false, &mut |cpu| rings.add(cpu));
        self.sampler.require_one()
    }

    /// Which bits of return addresses are address.
    #[must_use]
    pub const fn address_mask(&self) -> AddressMask {
        self.address_mask
    }

    /// How the steps of a walk are repeated.
    #[must_use]
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Can the user stacks of samples inside the kernel be walked?
    #[must_use]
    pub const fn finds_user_registers(&self) -> bool {
        self.finds_user_registers
    }

    /// Times that the program that samples ran, and nanoseconds that took: counted where
    /// `kernel.bpf_stats_enabled` is set.
    #[must_use]
    pub fn sample_cost(&self) -> Option<(u64, u64)> {
        let program = way::program(&self.programs, self.way).ok()?;
        program::run_statistics(program.fd().ok()?.as_fd())
    }
}

/// Makes the maps and sets the constants; no program is loaded yet.
fn open(
    object: &[u8],
    btf: &Btf,
    options: &LoadOptions,
    possible_cpus: u32,
    ring_bytes: u32,
) -> Result<Ebpf, CollectError> {
    let offsets = Offsets::read()?;
    let probes = offsets.return_probes;
    let address_mask = address_mask::learn().bits();
    let (only_selected, select_children) = match options.selection {
        Selection::All => (0u32, 0u32),
        Selection::Processes { children } => (1, u32::from(children)),
    };
    let wake_bytes = u64::from(ring_bytes / 2);
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("TASK_FLAGS_OFFSET", &offsets.flags, true)
        .override_global("TASK_TGID_OFFSET", &offsets.tgid, true)
        .override_global("TASK_PID_OFFSET", &offsets.pid, true)
        .override_global("TASK_STACK_OFFSET", &offsets.stack, true)
        .override_global("TASK_SIGNAL_OFFSET", &offsets.signal, true)
        .override_global("SIGNAL_LIVE_OFFSET", &offsets.live, true)
        .override_global("TASK_THREAD_POINTER_OFFSET", &offsets.thread_pointer, true)
        .override_global("TASK_PROBES_OFFSET", &probes.task, true)
        .override_global("RETURN_INSTANCES_OFFSET", &probes.instances, true)
        .override_global("RETURN_STACK_OFFSET", &probes.stack, true)
        .override_global("RETURN_ADDRESS_OFFSET", &probes.address, true)
        .override_global("RETURN_NEXT_OFFSET", &probes.next, true)
        .override_global("ADDRESS_MASK", &address_mask, true)
        .override_global("ONLY_SELECTED", &only_selected, true)
        .override_global("SELECT_CHILDREN", &select_children, true)
        .override_global("RING_WAKE_BYTES", &wake_bytes, true)
        .map_max_entries("RINGS", possible_cpus);
    #[cfg(feature = "fault-injection")]
    let object = &super::fault::inject(object);
    loader.load(object).map_err(|error| load_refused(&error))
}

/// A ring holds what its CPU writes in half a second with deep stacks, within 128 KiB and 4 MiB.
fn ring_bytes(period: SamplePeriod) -> u32 {
    const DEEP_STACK: u64 = 4096;
    let wanted = 500_000_000 / period.nanoseconds() * DEEP_STACK;
    wanted.clamp(1 << 17, 1 << 22).next_power_of_two() as u32
}

fn take<M>(programs: &mut Ebpf, name: &'static str) -> Result<M, CollectError>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    let map = programs
        .take_map(name)
        .ok_or_else(|| CollectError::System {
            call: format!("the object has no map {name}"),
            source: io::ErrorKind::NotFound.into(),
        })?;
    M::try_from(map).map_err(|source| CollectError::Map { map: name, source })
}

/// Process ids of samples are those of the initial pid namespace: the agent must see it.
fn require_host_pid_namespace() -> Result<(), CollectError> {
    /// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`.
    const INITIAL: &str = "pid:[4026531836]";
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace.as_os_str() == INITIAL => return Ok(()),
        Ok(_) => {}
        // A kernel without pid namespaces (`CONFIG_PID_NS`) has no other.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && std::fs::exists("/proc/self/stat").unwrap_or(false) =>
        {
            return Ok(());
        }
        Err(source) => {
            return Err(CollectError::System {
                call: "reading /proc/self/ns/pid".to_owned(),
                source,
            });
        }
    }
    Err(CollectError::Privilege {
        what: "running in a pid namespace of its own",
        source: io::ErrorKind::PermissionDenied.into(),
        fix: "Run the agent in the host's pid namespace (hostPID: true, or docker run --pid=host)."
            .to_owned(),
    })
}

fn load_refused(error: &aya::EbpfError) -> CollectError {
    let attempt = match error {
        aya::EbpfError::MapError(aya::maps::MapError::CreateError { name, .. }) => {
            Attempt::CreateMap(name)
        }
        _ => Attempt::LoadObject,
    };
    CollectError::explained(attempt, error)
}
