//! What the kernel side knows of the language runtime of a process: where it finds the goroutine, and
//! where a thread says which request it works for. Processes with equal facts share one entry.

/// Entries in the array of runtimes; index 0 is never used: it means "nothing known".
pub const MAX_RUNTIMES: usize = 2048;

/// How the address of a thread-local variable is found ("ELF Handling For Thread-Local Storage").
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ThreadLocal {
    /// [`ThreadLocal::ABSENT`], [`ThreadLocal::STATIC`], [`ThreadLocal::DYNAMIC`],
    /// [`ThreadLocal::REGISTER`] or [`ThreadLocal::INDIRECT`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// `STATIC`: added to the thread pointer. `DYNAMIC`: added to the start of the module's block.
    /// `REGISTER`: the register's DWARF number. `INDIRECT`: the address of the word.
    pub offset: i64,
    /// `DYNAMIC`: the module's index in the thread's vector of blocks.
    pub module: u64,
}
const _: () = assert!(size_of::<ThreadLocal>() == 24);

impl ThreadLocal {
    /// There is none.
    pub const ABSENT: u32 = 0;
    /// At a fixed distance from the thread pointer.
    pub const STATIC: u32 = 1;
    /// In a block that the thread's vector (`dtv`) points to: entry `module` of the vector begins
    /// with the block's address.
    pub const DYNAMIC: u32 = 2;
    /// The variable's value is in a register while its own code runs (Go's `g` on aarch64).
    pub const REGISTER: u32 = 3;
    /// A word of the process's memory (an entry of its global offset table) holds the distance from the
    /// thread pointer.
    pub const INDIRECT: u32 = 4;
}

/// Byte offsets in the structures of one version of Go's runtime (`runtime2.go`); 0 in fields that
/// are not known, except where 0 is the place.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GoRuntime {
    /// Where a thread keeps its `g`; absent: no Go in this process, or nothing known of it.
    pub g: ThreadLocal,
    /// `g.m`.
    pub g_m: u16,
    /// `g.stack.hi` (`g.stack.lo` is at 0).
    pub g_stack_hi: u16,
    /// `g.sched.sp`.
    pub g_sched_sp: u16,
    /// `g.sched.pc`.
    pub g_sched_pc: u16,
    /// `g.sched.bp`.
    pub g_sched_bp: u16,
    /// `g.goid`.
    pub g_goid: u16,
    /// `g.labels`.
    pub g_labels: u16,
    /// `m.g0` is at 0 in every version; `m.curg`.
    pub m_curg: u16,
    /// `m.vdsoSP`.
    pub m_vdso_sp: u16,
    /// `m.vdsoPC`.
    pub m_vdso_pc: u16,
    /// [`GoRuntime::LABELS_NONE`], [`GoRuntime::LABELS_MAP`] or [`GoRuntime::LABELS_SLICE`].
    pub labels: u16,
    /// `g.sched.lr`: only written on machines with a link register.
    pub g_sched_lr: u16,
    /// Where the program's code and read-only data are: what lies there never changes.
    pub constants: u64,
    /// Bytes of them; 0: nothing known.
    pub constants_bytes: u64,
}
const _: () = assert!(size_of::<GoRuntime>() == 64);

impl GoRuntime {
    /// The form of labels is not known: they are not read.
    pub const LABELS_NONE: u16 = 0;
    /// A Go map (up to Go 1.23).
    pub const LABELS_MAP: u16 = 1;
    /// A slice of keys and values (from Go 1.24 on).
    pub const LABELS_SLICE: u16 = 2;
}

/// One entry of the array of runtimes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuntimeEntry {
    /// Go's runtime.
    pub go: GoRuntime,
    /// The pointer `otel_thread_ctx_v1` (OTEP 4947).
    pub thread_context: ThreadLocal,
    /// The record `elastic_apm_profiling_correlation_tls_v1` (a pointer to it).
    pub elastic: ThreadLocal,
    /// For [`ThreadLocal::DYNAMIC`]: bytes of an entry of the thread's vector of blocks, 16 (glibc) or
    /// 8 (musl).
    pub vector_stride: u32,
    /// For [`ThreadLocal::DYNAMIC`]: where from the thread pointer on the vector's address lies. x86_64:
    /// 8; aarch64: 0 (glibc) or -8 (musl).
    pub vector_offset: i32,
}
const _: () = assert!(size_of::<RuntimeEntry>() == 120);
