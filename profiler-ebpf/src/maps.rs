//! The maps. Sizes that depend on the machine are set by the loader.

use aya_ebpf::bindings::bpf_map_type::{BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_LRU_HASH};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use profiler_common::layout::counter::COUNTERS;
use profiler_common::layout::process::{MAX_CHUNKS, MAX_PROCESSES, MAX_SEGMENTS};
use profiler_common::layout::runtime::MAX_RUNTIMES;
use profiler_common::layout::{MappingChunk, ProcessEntry, RuntimeEntry, Snapshot};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::TableBlock;

use crate::inner_map::{ArrayOf, Untyped};
use crate::off_cpu::Decision;
use crate::off_cpu::stays::{MAX_THREADS, Stay, TaskStorage};
use crate::purpose::PURPOSES;
use crate::sample::Scratch;

/// `BPF_F_MMAPABLE`: the agent writes tables through memory, not with a system call a row.
const MMAPABLE: usize = 1 << 10;
/// `BPF_F_INNER_MAP`: the arrays under one outer map may differ in length.
const INNER_MAP: usize = 1 << 12;

/// A segment of table memory: an array of [`TableBlock`]s.
type Segment = Untyped<
    { BPF_MAP_TYPE_ARRAY as usize },
    4,
    { size_of::<TableBlock>() },
    1,
    { MMAPABLE | INNER_MAP },
>;
/// A map of links of whoever defines its maps by sizes.
type UntypedLinks =
    Untyped<{ BPF_MAP_TYPE_LRU_HASH as usize }, { size_of::<u64>() }, { size_of::<Link>() }, 1, 0>;
/// Trace id and span id.
pub type Link = [u64; 3];
/// One CPU's ring; the loader creates each with its own size. This one is a multiple of every kernel's pages: it is
/// created too, as the template.
pub type SampleRing = RingBuf<u8, 65536>;

/// The table of processes, by pid.
#[btf_map]
pub static PROCESSES: HashMap<u32, ProcessEntry, MAX_PROCESSES> = HashMap::new();
/// A process entry without mappings: all zero.
#[btf_map]
pub static EMPTY_PROCESS: Array<ProcessEntry, 1> = Array::new();
/// The chunks of all processes' mappings.
#[btf_map]
pub static CHUNKS: Array<MappingChunk, MAX_CHUNKS> = Array::new();
/// The rules that all tables share.
#[btf_map]
pub static RULES: Array<Rule, { Rule::MAX }> = Array::new();
/// What is known of the runtimes of processes.
#[btf_map]
pub static RUNTIMES: Array<RuntimeEntry, MAX_RUNTIMES> = Array::new();
/// In its only place the map that an instrumentation from outside pins, once the agent has found it:
/// links by pid and thread id.
#[btf_map]
pub static TRACES: ArrayOfMaps<LruHashMap<u64, Link, 1>, 1> = ArrayOfMaps::new();
/// The same for a map that has no type information: `inner_map` says why there are two.
#[btf_map]
pub static TRACES_UNTYPED: ArrayOf<UntypedLinks, 1> = ArrayOf::new();
/// The memory of all unwind tables.
#[btf_map]
pub static SEGMENTS: ArrayOf<Segment, MAX_SEGMENTS> = ArrayOf::new();
/// The rings, by CPU.
#[btf_map]
pub static RINGS: ArrayOfMaps<SampleRing, 1> = ArrayOfMaps::new();
/// Selected processes, by pid.
#[btf_map]
pub static SELECTED: HashMap<u32, u8, MAX_PROCESSES> = HashMap::new();
/// In its only place: from the lowest address of a task's kernel stack to the registers that it left user space
/// with, in bytes; 0: not known (`task::find_user_registers`).
#[btf_map]
pub static USER_REGISTERS: Array<u64, 1> = Array::new();
/// `Counter`s, by `Purpose`.
#[btf_map]
pub static COUNTS: PerCpuArray<[u64; COUNTERS], PURPOSES> = PerCpuArray::new();
/// Where the top of a stack is copied to, by `Purpose`.
#[btf_map]
pub static SNAPSHOT: PerCpuArray<Snapshot, PURPOSES> = PerCpuArray::new();
/// Where a sample is put together, by `Purpose`.
#[btf_map]
pub static SCRATCH: PerCpuArray<Scratch, PURPOSES> = PerCpuArray::new();
/// In its only place: when off-CPU time began to be recorded, in nanoseconds of the boot clock. What is older counts for nothing.
#[btf_map]
pub static OFF_CPU_BEGAN: Array<u64, 1> = Array::new();
/// The off-CPU sample that is due on a CPU.
#[btf_map]
pub static DECISION: PerCpuArray<Decision, 1> = PerCpuArray::new();
/// The stays off CPU of threads, kept by the kernel with each task. Where the kernel has no such storage for programs that trace
/// it, the loader makes a hash of this map, which nobody uses.
#[btf_map]
pub static TASK_STAYS: TaskStorage<Stay> = TaskStorage::new();
/// The same, by the address of the task, for kernels without that storage; elsewhere the loader makes it as small as can be.
#[btf_map]
pub static STAYS: HashMap<u64, Stay, MAX_THREADS> = HashMap::new();
