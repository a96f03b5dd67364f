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
use super::off_cpu::{
    self, Forced, MAX_THREADS, OffCpu, OffCpuPrograms, ResumeWay, Storage, Symbols, Waiting,
};
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

/// The eBPF object that the agent holds, as it is committed.
#[must_use]
pub fn object() -> &'static [u8] {
    OBJECT
}

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
    /// How to record time off CPU; `None`: not at all.
    pub off_cpu: Option<OffCpu>,
}

/// The kernel side, loaded.
pub struct Kernel {
    programs: Ebpf,
    way: Way,
    finds_user_registers: bool,
    address_mask: AddressMask,
    selected: HashMap<MapData, u32, u8>,
    off_cpu: Option<OffCpuPrograms>,
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
        Self::load_forced(Some(object), options, Forced::default())
    }

    /// Like [`Kernel::load`], with another build of the object if there is one, and as on a kernel that lacks what is not
    /// forced.
    pub fn load_forced(
        object: Option<&[u8]>,
        options: &LoadOptions,
        forced: Forced,
    ) -> Result<(Self, Vec<ProgramCost>), CollectError> {
        let object = object.unwrap_or(OBJECT);
        require_host_pid_namespace()?;
        let btf = Btf::from_sys_fs()
            .map_err(|error| CollectError::explained(Attempt::ReadTypes, &error))?;
        let (offsets, keeps_stays) = Offsets::read()?;
        let is_wanted = options.off_cpu.is_some();
        let symbols = if is_wanted {
            Symbols::read()
        } else {
            Symbols::default()
        };
        let mut host = HostFacts {
            btf,
            offsets,
            storage: Storage::Hash,
            symbols,
        };
        let storage = forced.storage.unwrap_or(Storage::Task);
        if is_wanted && keeps_stays && storage == Storage::Task {
            host.storage = Storage::Task;
            match Self::load_on(object, options, &host, forced) {
                Err(error) if !error.is_privilege() && forced.storage.is_none() => {
                    tracing::debug!(%error, "the kernel does not keep the stays of tasks off CPU");
                    host.storage = Storage::Hash;
                }
                loaded => return loaded,
            }
        }
        Self::load_on(object, options, &host, forced)
    }

    fn load_on(
        object: &[u8],
        options: &LoadOptions,
        host: &HostFacts,
        forced: Forced,
    ) -> Result<(Self, Vec<ProgramCost>), CollectError> {
        let possible_cpus =
            cpus::possible().map_err(|error| CollectError::explained(Attempt::FindCpus, &error))?;
        let HostFacts {
            btf,
            offsets,
            symbols,
            ..
        } = host;
        let waiting = Waiting::find(offsets.run_delay, forced);
        let ring_bytes = ring_bytes(options);
        let mut programs = open(object, options, host, waiting, possible_cpus, ring_bytes)?;
        let (way, cost) = way::load(&mut programs, options.way)?;
        let mut costs = vec![cost];
        let finds_user_registers =
            way == Way::Helper || way::find_user_registers(&mut programs, btf);
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
                btf,
            )?);
        }
        let mut off_cpu = None;
        if options.off_cpu.is_some() {
            let loaded =
                OffCpuPrograms::load(&mut programs, btf, way, host.storage, waiting, symbols)?;
            off_cpu = Some(loaded.0);
            costs.extend(loaded.1);
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
                symbols.schedule.clone(),
            ),
            off_cpu,
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

    /// Records time off CPU from now on, where that was asked for: last, once samples are taken and read.
    ///
    /// # Errors
    /// The kernel refuses to run the programs.
    pub fn start_off_cpu(&mut self) -> Result<(), CollectError> {
        match &mut self.off_cpu {
            Some(off_cpu) => off_cpu.start(&mut self.programs),
            None => Ok(()),
        }
    }

    /// Records no time off CPU any more.
    pub fn stop_off_cpu(&mut self) {
        if let Some(off_cpu) = &mut self.off_cpu {
            off_cpu.stop(&mut self.programs);
        }
    }

    /// What tells that a thread runs again; `None`: time off CPU is not recorded.
    #[must_use]
    pub fn off_cpu(&self) -> Option<ResumeWay> {
        self.off_cpu.as_ref().map(OffCpuPrograms::resume_way)
    }

    /// Times that the programs ran that record time off CPU, and nanoseconds that took: counted where
    /// `kernel.bpf_stats_enabled` is set.
    #[must_use]
    pub fn off_cpu_cost(&self) -> Option<(u64, u64)> {
        self.off_cpu.as_ref()?.cost(&self.programs)
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

/// What is known of the running kernel before anything is loaded.
struct HostFacts {
    btf: Btf,
    offsets: Offsets,
    /// Where stays off CPU are kept.
    storage: Storage,
    symbols: Symbols,
}

/// Makes the maps and sets the constants; no program is loaded yet.
fn open(
    object: &[u8],
    options: &LoadOptions,
    host: &HostFacts,
    waiting: Waiting,
    possible_cpus: u32,
    ring_bytes: u32,
) -> Result<Ebpf, CollectError> {
    let offsets = &host.offsets;
    let probes = offsets.return_probes;
    let address_mask = address_mask::learn().bits();
    let (only_selected, select_children) = match options.selection {
        Selection::All => (0u32, 0u32),
        Selection::Processes { children } => (1, u32::from(children)),
    };
    let wake_bytes = u64::from(ring_bytes / 2);
    let period = options.period.nanoseconds();
    let drawing = options.off_cpu.unwrap_or_default().drawing();
    let run_delay = match waiting {
        Waiting::RunDelay => offsets.run_delay,
        Waiting::Wakeups => 0,
    };
    let is_hashed = options.off_cpu.is_some() && host.storage == Storage::Hash;
    let is_hashed_word = u32::from(is_hashed);
    let stays = if is_hashed { MAX_THREADS } else { 1 };
    let patched = match host.storage {
        Storage::Task => None,
        Storage::Hash => off_cpu::without_task_storage(object),
    };
    let object = patched.as_deref().unwrap_or(object);
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&host.btf))
        .allow_unsupported_maps()
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("TASK_FLAGS_OFFSET", &offsets.flags, true)
        .override_global("TASK_TGID_OFFSET", &offsets.tgid, true)
        .override_global("TASK_PID_OFFSET", &offsets.pid, true)
        .override_global("TASK_STATE_OFFSET", &offsets.state, true)
        .override_global("TASK_START_OFFSET", &offsets.start_time, true)
        .override_global("TASK_RUN_DELAY_OFFSET", &run_delay, true)
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
        .override_global("SAMPLE_PERIOD", &period, true)
        .override_global("OFF_CPU_THRESHOLD", &drawing.threshold, true)
        .override_global("OFF_CPU_KEEP", &drawing.keep, true)
        .override_global("OFF_CPU_INVERSE", &drawing.inverse, true)
        .override_global("OFF_CPU_STAYS_HASHED", &is_hashed_word, true)
        .map_max_entries("STAYS", stays)
        .map_max_entries("RINGS", possible_cpus);
    if host.storage == Storage::Hash {
        loader.map_max_entries("TASK_STAYS", 1);
    }
    #[cfg(feature = "fault-injection")]
    let object = &super::fault::inject(object);
    loader.load(object).map_err(|error| load_refused(&error))
}

/// A ring holds what its CPU writes in half a second with deep stacks, within 128 KiB and 4 MiB. How many threads of it wake
/// nobody knows: with time off CPU it is no less than 512 KiB.
fn ring_bytes(options: &LoadOptions) -> u32 {
    const DEEP_STACK: u64 = 4096;
    let wanted = 500_000_000 / options.period.nanoseconds() * DEEP_STACK;
    let least = match options.off_cpu {
        Some(_) => 1 << 19,
        None => 1 << 17,
    };
    wanted.clamp(least, 1 << 22).next_power_of_two() as u32
}

pub(super) fn take<M>(programs: &mut Ebpf, name: &'static str) -> Result<M, CollectError>
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
