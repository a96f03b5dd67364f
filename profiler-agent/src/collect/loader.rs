//! Loads the eBPF programs into the running kernel.

use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{BtfTracePoint, PerfEvent, Program, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};

use super::btf::KernelTypes;
use super::counters::Counters;
use super::publish::Publisher;
use super::rings::Rings;
use super::sampler::Sampler;
use super::traces::Traces;
use super::{CollectError, cpus};
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
}

/// The kernel side, loaded.
pub struct Kernel {
    programs: Ebpf,
    selected: HashMap<MapData, u32, u8>,
    possible_cpus: u32,
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

/// What loading a program cost the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// The program's name.
    pub name: &'static str,
    /// Instructions that the verifier looked at, where the kernel tells (Linux 5.16).
    pub verified_instructions: Option<u32>,
    /// How long loading (and attaching) took.
    pub load_time: Duration,
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
        let possible_cpus = cpus::possible().map_err(|source| CollectError::System {
            call: "reading the possible CPUs".to_owned(),
            source,
        })?;
        let offsets = Offsets::read()?;
        let btf = Btf::from_sys_fs().map_err(|_| no_btf())?;
        let ring_bytes = ring_bytes(options.period);
        let (only_selected, select_children) = match options.selection {
            Selection::All => (0u32, 0u32),
            Selection::Processes { children } => (1, u32::from(children)),
        };
        let wake_bytes = u64::from(ring_bytes / 2);
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&btf))
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global("TASK_FLAGS_OFFSET", &offsets.flags, true)
            .override_global("TASK_TGID_OFFSET", &offsets.tgid, true)
            .override_global("TASK_THREAD_POINTER_OFFSET", &offsets.thread_pointer, true)
            .override_global("ONLY_SELECTED", &only_selected, true)
            .override_global("SELECT_CHILDREN", &select_children, true)
            .override_global("RING_WAKE_BYTES", &wake_bytes, true)
            .map_max_entries("RINGS", possible_cpus);
        let mut programs = loader.load(object).map_err(|error| load_refused(&error))?;
        let mut costs = vec![load_program(&mut programs, "sample", |program| {
            <&mut PerfEvent>::try_from(program)?.load()
        })?];
        for (name, tracepoint) in [
            ("process_fork", "sched_process_fork"),
            ("process_exec", "sched_process_exec"),
        ] {
            costs.push(load_program(&mut programs, name, |program| {
                let program = <&mut BtfTracePoint>::try_from(program)?;
                program.load(tracepoint, &btf)?;
                program.attach().map(|_| ())
            })?);
        }
        let sample: &PerfEvent = programs
            .program("sample")
            .ok_or_else(|| no_such_program("sample"))?
            .try_into()
            .map_err(|error: ProgramError| program_error("sample", &error))?;
        let sampler = Sampler::new(
            sample
                .fd()
                .map_err(|error| program_error("sample", &error))?
                .as_fd(),
            options.period,
        )?;
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
                take::<ArrayOfMaps<_, MapData>>(&mut programs, "SEGMENTS")?,
                options.table_budget,
            )?,
            traces: Traces::new(take::<ArrayOfMaps<_, MapData>>(&mut programs, "TRACES")?),
            possible_cpus,
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

    /// Starts sampling on the CPUs that are online and not sampled yet, stops on those that went
    /// offline.
    pub fn follow_cpus(&mut self) -> Result<(), CollectError> {
        let online = cpus::online().map_err(|source| CollectError::System {
            call: "reading the CPUs that are online".to_owned(),
            source,
        })?;
        let gone: Vec<u32> = self
            .sampler
            .cpus()
            .filter(|cpu| !online.contains(cpu))
            .collect();
        for cpu in gone {
            self.sampler.remove(cpu);
        }
        for cpu in online.into_iter().filter(|cpu| *cpu < self.possible_cpus) {
            self.rings.add(cpu)?;
            self.sampler.add(cpu)?;
        }
        Ok(())
    }

    /// Times that the `sample` program ran, and nanoseconds that took: counted where
    /// `kernel.bpf_stats_enabled` is set.
    #[must_use]
    pub fn sample_cost(&self) -> Option<(u64, u64)> {
        let program: &PerfEvent = self.programs.program("sample")?.try_into().ok()?;
        run_statistics(program.fd().ok()?.as_fd())
    }
}

/// `run_cnt` and `run_time_ns` of a program, from its descriptor's information in `/proc`.
fn run_statistics(program: std::os::fd::BorrowedFd<'_>) -> Option<(u64, u64)> {
    use std::os::fd::AsRawFd as _;
    let text =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .parse()
                .ok()
        })
    };
    Some((field("run_cnt")?, field("run_time_ns")?))
}

struct Offsets {
    flags: u32,
    tgid: u32,
    thread_pointer: u32,
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
    fn read() -> Result<Self, CollectError> {
        let bytes = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|_| no_btf())?;
        let offsets = KernelTypes::parse(&bytes).and_then(|types| {
            Ok(Self {
                flags: types.offset("task_struct", "flags")?,
                tgid: types.offset("task_struct", "tgid")?,
                thread_pointer: types.offset_of_path("task_struct", THREAD_POINTER)?,
            })
        });
        offsets.map_err(|error| CollectError::Kernel {
            missing: error.to_string(),
            fix: "Report this kernel: its type information is unusual.",
        })
    }
}

/// A ring holds what its CPU writes in half a second with deep stacks, within 128 KiB and 4 MiB.
fn ring_bytes(period: SamplePeriod) -> u32 {
    const DEEP_STACK: u64 = 4096;
    let wanted = 500_000_000 / period.nanoseconds() * DEEP_STACK;
    wanted.clamp(1 << 17, 1 << 22).next_power_of_two() as u32
}

/// Loads one program and notes what that cost.
fn load_program(
    programs: &mut Ebpf,
    name: &'static str,
    load: impl FnOnce(&mut Program) -> Result<(), ProgramError>,
) -> Result<ProgramCost, CollectError> {
    let program = programs
        .program_mut(name)
        .ok_or_else(|| no_such_program(name))?;
    let start = Instant::now();
    load(program).map_err(|error| program_error(name, &error))?;
    let load_time = start.elapsed();
    let info = program
        .info()
        .map_err(|error| program_error(name, &error))?;
    Ok(ProgramCost {
        name,
        verified_instructions: info.verified_instruction_count(),
        load_time,
    })
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
    let namespace =
        std::fs::read_link("/proc/self/ns/pid").map_err(|source| CollectError::System {
            call: "reading /proc/self/ns/pid".to_owned(),
            source,
        })?;
    if namespace.as_os_str() == INITIAL {
        return Ok(());
    }
    Err(CollectError::Privilege {
        what: "running in a pid namespace of its own",
        source: io::ErrorKind::PermissionDenied.into(),
        fix: "Run the agent in the host's pid namespace (hostPID: true, or docker run --pid=host)."
            .to_owned(),
    })
}

fn no_btf() -> CollectError {
    CollectError::Kernel {
        missing: "no type information in /sys/kernel/btf/vmlinux".to_owned(),
        fix: "A kernel with CONFIG_DEBUG_INFO_BTF is needed, and /sys mounted.",
    }
}

/// What helps when a privilege is missing, with the value of the sysctl that asks for it.
pub(super) fn privilege_fix() -> String {
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok());
    match paranoid {
        Some(level) if level > 2 => format!(
            "Run as root, or with CAP_SYS_ADMIN in addition to CAP_BPF and CAP_PERFMON: \
             kernel.perf_event_paranoid is {level} here (2 or less needs no CAP_SYS_ADMIN)"
        ),
        _ => "Run as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, \
              CAP_SYSLOG and CAP_CHECKPOINT_RESTORE"
            .to_owned(),
    }
}

fn no_such_program(name: &str) -> CollectError {
    CollectError::System {
        call: format!("the object has no program {name}"),
        source: io::ErrorKind::NotFound.into(),
    }
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::PermissionDenied
        {
            return true;
        }
        current = error.source();
    }
    false
}

fn load_refused(error: &aya::EbpfError) -> CollectError {
    if is_permission(error) {
        return CollectError::Privilege {
            what: "creating BPF maps",
            source: io::ErrorKind::PermissionDenied.into(),
            fix: privilege_fix(),
        };
    }
    CollectError::Kernel {
        missing: chain(error),
        fix: "Linux 5.17 or later is needed (bpf_loop, bpf_task_pt_regs, ring buffers).",
    }
}

fn program_error(program: &'static str, error: &ProgramError) -> CollectError {
    if is_permission(error)
        && !matches!(error, ProgramError::LoadError { verifier_log, .. } if !verifier_log.to_string().is_empty())
    {
        return CollectError::Privilege {
            what: "loading a BPF program",
            source: io::ErrorKind::PermissionDenied.into(),
            fix: privilege_fix(),
        };
    }
    let text = chain(error);
    let missing_helper = ["unknown func", "invalid func", "unsupported helper"];
    if missing_helper.iter().any(|needle| text.contains(needle)) {
        return CollectError::Kernel {
            missing: format!(
                "`{program}` uses a BPF helper that is not there ({})",
                tail(&text)
            ),
            fix: "Linux 5.17 or later is needed (bpf_loop, bpf_task_pt_regs, ring buffers).",
        };
    }
    CollectError::Program {
        program,
        reason: tail(&text).to_owned(),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut current = error.source();
    while let Some(error) = current {
        text.push_str(": ");
        text.push_str(&error.to_string());
        current = error.source();
    }
    text
}

/// The end of a verifier's log: where the reason is.
fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(2000);
    let start = (start..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    &text[start..]
}
