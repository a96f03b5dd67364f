//! What the kernel side knows of a process: which ranges of its address space belong to which
//! unwind table. Only file-backed executable mappings (and the vDSO) are listed; a pc outside
//! them is treated as JIT code and followed by frame pointer.
//!
//! A process has up to [`CHUNKS_PER_PROCESS`] chunks of up to [`MAPPINGS_PER_CHUNK`] mappings,
//! sorted by start address without overlaps. Where that is too few, these chunks are an index: each of their entries
//! stands for a chunk of mappings, from the first one's start to the last one's end. Chunks are immutable once published: the agent fills
//! a free chunk, then replaces the process's [`ProcessEntry`]. A forked child shares its parent's
//! chunks until the agent gives it its own.

/// Mappings in one chunk.
pub const MAPPINGS_PER_CHUNK: usize = 16;
/// Chunks of one process.
pub const CHUNKS_PER_PROCESS: usize = 32;
/// File-backed executable mappings of one process that the kernel side can hold.
pub const MAX_MAPPINGS: usize = MAPPINGS_PER_CHUNK * MAPPINGS_PER_CHUNK * CHUNKS_PER_PROCESS;
/// Chunks of all processes together.
pub const MAX_CHUNKS: usize = 6144;
/// Processes that the kernel side can hold.
pub const MAX_PROCESSES: usize = 8192;
/// Segments of table memory that can be loaded at a time.
pub const MAX_SEGMENTS: usize = 1024;
/// `MappingEntry::table` of a mapping whose table is not there (yet).
pub const NO_TABLE: u32 = u32::MAX;

/// Where a table is: a segment of table memory, and the first of its blocks in it. Segments hold
/// many small tables or one large one: putting a map into an array of maps makes the kernel wait
/// for an RCU grace period, so it must not happen for every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TablePlace(pub u32);

impl TablePlace {
    /// The place at `block` of `segment`.
    #[must_use]
    pub const fn new(segment: u16, block: u16) -> Self {
        Self((segment as u32) << 16 | block as u32)
    }
    /// The segment's index.
    #[inline(always)]
    #[must_use]
    pub const fn segment(self) -> u32 {
        self.0 >> 16
    }
    /// The first block in the segment.
    #[inline(always)]
    #[must_use]
    pub const fn block(self) -> u32 {
        self.0 & 0xffff
    }
}

/// One file-backed executable mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MappingEntry {
    /// First address.
    pub start: u64,
    /// First address behind the mapping.
    pub end: u64,
    /// Added (wrapping) to a pc it gives the offset into the table's text range.
    pub bias: u64,
    /// Where the directory of the file's table is ([`TablePlace`]), or [`NO_TABLE`].
    pub table: u32,
    /// Length of the directory in pages: a bound for the look-up.
    pub pages: u32,
}
const _: () = assert!(size_of::<MappingEntry>() == 32);

/// A sorted run of mappings; unused entries come last.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappingChunk {
    /// The mappings.
    pub mappings: [MappingEntry; MAPPINGS_PER_CHUNK],
}
const _: () = assert!(size_of::<MappingChunk>() == 512);

impl MappingEntry {
    /// An unused entry: behind every pc.
    pub const UNUSED: Self = Self {
        start: u64::MAX,
        end: 0,
        bias: 0,
        table: NO_TABLE,
        pages: 0,
    };
}

// The two searches take a fixed number of steps, and each index goes through `opaque`: the identity
// to the machine, but in the kernel a way to make the verifier forget where the index came from, so
// that it does not follow every path through the search. Indices are masked: in bounds whatever
// `opaque` does.

impl MappingChunk {
    /// The mapping that `pc` lies in.
    #[inline(always)]
    #[must_use]
    pub fn mapping_of(&self, pc: u64, opaque: impl Fn(u32) -> u32) -> Option<&MappingEntry> {
        const MASK: usize = MAPPINGS_PER_CHUNK - 1;
        let mut low = 0;
        let mut half = MAPPINGS_PER_CHUNK as u32 / 2;
        while half > 0 {
            if self.mappings[opaque(low + half) as usize & MASK].start <= pc {
                low += half;
            }
            half /= 2;
        }
        let entry = &self.mappings[opaque(low) as usize & MASK];
        (entry.start <= pc && pc < entry.end).then_some(entry)
    }
}

/// Where a process's chunks are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkTable {
    /// First address of each chunk; `u64::MAX` behind the last.
    pub first: [u64; CHUNKS_PER_PROCESS],
    /// Slot of each chunk in the array of chunks.
    pub slot: [u32; CHUNKS_PER_PROCESS],
}

impl ChunkTable {
    /// The slot of the chunk that `pc` can lie in.
    #[inline(always)]
    #[must_use]
    pub fn chunk_of(&self, pc: u64, opaque: impl Fn(u32) -> u32) -> Option<u32> {
        const MASK: usize = CHUNKS_PER_PROCESS - 1;
        let mut low = 0;
        let mut half = CHUNKS_PER_PROCESS as u32 / 2;
        while half > 0 {
            if self.first[opaque(low + half) as usize & MASK] <= pc {
                low += half;
            }
            half /= 2;
        }
        let index = opaque(low) as usize & MASK;
        (self.first[index] <= pc).then_some(self.slot[index])
    }
}

const _: () = assert!(MAPPINGS_PER_CHUNK.is_power_of_two() && CHUNKS_PER_PROCESS.is_power_of_two());

/// The kernel side's view of one process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Identity of the process image: nanoseconds of `CLOCK_BOOTTIME` of its exec (or of the
    /// agent's scan for processes older than the agent). A fork keeps it.
    pub image: u64,
    /// [`ProcessEntry::KNOWN`] or 0: an exec was seen and the agent has not caught up yet.
    pub state: u32,
    /// Chunks in use.
    pub chunks: u32,
    /// Index of its `RuntimeEntry`; 0: nothing known.
    pub runtime: u32,
    /// 1: the chunks are an index, and `table` of an entry of theirs is the slot of a chunk of mappings. 0: they have the
    /// mappings.
    pub index: u32,
    /// The chunks.
    pub table: ChunkTable,
}
const _: () = assert!(size_of::<ProcessEntry>() == 24 + 12 * CHUNKS_PER_PROCESS);

impl ProcessEntry {
    /// The agent has published this image's mappings.
    pub const KNOWN: u32 = 1;

    /// The mapping that `pc` lies in. `chunk` gives the chunk in a slot.
    #[inline(always)]
    #[must_use]
    pub fn mapping_of<'a>(
        &self,
        pc: u64,
        chunk: impl Fn(u32) -> Option<&'a MappingChunk>,
        opaque: impl Fn(u32) -> u32,
    ) -> Option<&'a MappingEntry> {
        let found = chunk(self.table.chunk_of(pc, &opaque)?)?.mapping_of(pc, &opaque)?;
        if self.index == 0 {
            return Some(found);
        }
        chunk(found.table)?.mapping_of(pc, &opaque)
    }

    /// An entry without mappings.
    #[must_use]
    pub const fn empty(image: u64) -> Self {
        Self {
            image,
            state: 0,
            chunks: 0,
            runtime: 0,
            index: 0,
            table: ChunkTable {
                first: [u64::MAX; CHUNKS_PER_PROCESS],
                slot: [0; CHUNKS_PER_PROCESS],
            },
        }
    }
}
