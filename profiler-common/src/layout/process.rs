//! What the kernel side knows of a process: which ranges of its address space belong to which
//! unwind table. Only file-backed executable mappings (and the vDSO) are listed; a pc outside
//! them is treated as JIT code and followed by frame pointer.
//!
//! A process has up to [`CHUNKS_PER_PROCESS`] chunks of up to [`MAPPINGS_PER_CHUNK`] mappings,
//! sorted by start address without overlaps. Chunks are immutable once published: the agent fills
//! a free chunk, then replaces the process's [`ProcessEntry`]. A forked child shares its parent's
//! chunks until the agent gives it its own.

/// Mappings in one chunk.
pub const MAPPINGS_PER_CHUNK: usize = 24;
/// Chunks of one process.
pub const CHUNKS_PER_PROCESS: usize = 32;
/// File-backed executable mappings of one process that the kernel side can hold.
pub const MAX_MAPPINGS: usize = MAPPINGS_PER_CHUNK * CHUNKS_PER_PROCESS;
/// Chunks of all processes together.
pub const MAX_CHUNKS: usize = 4096;
/// Processes that the kernel side can hold.
pub const MAX_PROCESSES: usize = 8192;
/// Unwind tables that can be loaded at a time.
pub const MAX_TABLES: usize = 4096;
/// `MappingEntry::table` of a mapping whose table is not there (yet).
pub const NO_TABLE: u32 = u32::MAX;

/// One file-backed executable mapping.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappingEntry {
    /// First address.
    pub start: u64,
    /// First address behind the mapping; 0 in an unused entry.
    pub end: u64,
    /// Added (wrapping) to a pc it gives the offset into the table's text range.
    pub bias: u64,
    /// Index into the array of tables, or [`NO_TABLE`].
    pub table: u32,
    /// Length of the table's index in buckets: a bound for the look-up.
    pub buckets: u32,
}
const _: () = assert!(size_of::<MappingEntry>() == 32);

/// A sorted run of mappings; unused entries (all zero) come last.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingChunk {
    /// The mappings.
    pub mappings: [MappingEntry; MAPPINGS_PER_CHUNK],
}
const _: () = assert!(size_of::<MappingChunk>() == 768);

impl MappingChunk {
    /// The mapping that `pc` lies in.
    #[inline(always)]
    #[must_use]
    pub fn mapping_of(&self, pc: u64) -> Option<&MappingEntry> {
        // Unused entries come last and end at 0, so "ends behind pc" is found by halving over
        // the starts of the used ones: an unused start counts as infinite.
        let mut low = 0;
        let mut high = MAPPINGS_PER_CHUNK;
        let mut step = 0;
        while step < 5 {
            if high - low <= 1 {
                break;
            }
            let middle = low + (high - low) / 2;
            let entry = self.mappings.get(middle)?;
            if entry.end != 0 && entry.start <= pc {
                low = middle;
            } else {
                high = middle;
            }
            step += 1;
        }
        let entry = self.mappings.get(low)?;
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
    /// The slot of the chunk that `pc` can lie in, of the first `chunks` ones.
    #[inline(always)]
    #[must_use]
    pub fn chunk_of(&self, chunks: u32, pc: u64) -> Option<u32> {
        let mut low = 0;
        let mut high = if chunks as usize > CHUNKS_PER_PROCESS {
            CHUNKS_PER_PROCESS
        } else {
            chunks as usize
        };
        if high == 0 {
            return None;
        }
        let mut step = 0;
        while step < 6 {
            if high - low <= 1 {
                break;
            }
            let middle = low + (high - low) / 2;
            if *self.first.get(middle)? <= pc {
                low = middle;
            } else {
                high = middle;
            }
            step += 1;
        }
        if *self.first.get(low)? > pc {
            return None;
        }
        self.slot.get(low).copied()
    }
}

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
    /// The chunks.
    pub table: ChunkTable,
}
const _: () = assert!(size_of::<ProcessEntry>() == 16 + 12 * CHUNKS_PER_PROCESS);

impl ProcessEntry {
    /// The agent has published this image's mappings.
    pub const KNOWN: u32 = 1;

    /// An entry without mappings.
    #[must_use]
    pub const fn empty(image: u64) -> Self {
        Self {
            image,
            state: 0,
            chunks: 0,
            table: ChunkTable {
                first: [u64::MAX; CHUNKS_PER_PROCESS],
                slot: [0; CHUNKS_PER_PROCESS],
            },
        }
    }
}
