//! The maps that a [`super::Publisher`] writes.

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError};
use profiler_common::layout::{MappingChunk, ProcessEntry, RuntimeEntry, TablePlace};
use profiler_common::unwind::Rule;

use crate::collect::CollectError;
use crate::collect::of_maps::ArrayOf;
use crate::collect::segment_memory::SegmentMemory;

macro_rules! plain {
    ($name:ident, $inner:ty) => {
        /// A layout that crosses the kernel boundary as it is.
        #[repr(transparent)]
        #[derive(Clone, Copy)]
        pub(in crate::collect) struct $name(pub(in crate::collect) $inner);
        // SAFETY: the inner type is repr(C) and consists of integers only.
        unsafe impl Pod for $name {}
    };
}
plain!(PlainProcess, ProcessEntry);
plain!(PlainChunk, MappingChunk);
plain!(PlainRule, Rule);
plain!(PlainRuntime, RuntimeEntry);

/// What a publisher asks of the kernel; each may fail at any time.
pub trait Maps {
    /// The entry of a process; `None` when there is none, or it cannot be read.
    fn entry(&self, pid: u32) -> Option<ProcessEntry>;
    /// Writes the entry of a process.
    fn insert(&mut self, pid: u32, entry: ProcessEntry) -> Result<(), CollectError>;
    /// Removes the entry of a process; that there is none is no error.
    fn remove(&mut self, pid: u32) -> Result<(), CollectError>;
    /// Writes a chunk of mappings.
    fn set_chunk(&mut self, slot: u32, chunk: MappingChunk) -> Result<(), CollectError>;
    /// Writes a rule.
    fn set_rule(&mut self, index: u32, rule: Rule) -> Result<(), CollectError>;
    /// Writes what is known of a runtime.
    fn set_runtime(&mut self, slot: u32, runtime: RuntimeEntry) -> Result<(), CollectError>;
    /// Makes a segment of table memory.
    fn create_segment(&mut self, index: u32, blocks: u32) -> Result<(), CollectError>;
    /// Gives a segment back.
    fn remove_segment(&mut self, index: u32) -> Result<(), CollectError>;
    /// Writes a table.
    fn write_table(&mut self, place: TablePlace, words: &[u32]) -> Result<(), CollectError>;
    /// Writes one word of a table that is in use.
    fn set_word(&mut self, place: TablePlace, index: u32, word: u32) -> Result<(), CollectError>;
    /// The word at this index of a table; `None` when it cannot be read.
    fn word(&self, place: TablePlace, index: u32) -> Option<u32>;
    /// No words are read for a while.
    fn rest(&mut self);
}

/// Those of the running kernel.
pub struct KernelMaps {
    pub(super) processes: HashMap<MapData, u32, PlainProcess>,
    pub(super) chunks: Array<MapData, PlainChunk>,
    pub(super) rules: Array<MapData, PlainRule>,
    pub(super) runtimes: Array<MapData, PlainRuntime>,
    memory: SegmentMemory,
}

impl KernelMaps {
    pub(super) fn new(
        processes: HashMap<MapData, u32, PlainProcess>,
        chunks: Array<MapData, PlainChunk>,
        rules: Array<MapData, PlainRule>,
        runtimes: Array<MapData, PlainRuntime>,
        segments: ArrayOf,
    ) -> Self {
        Self {
            processes,
            chunks,
            rules,
            runtimes,
            memory: SegmentMemory::new(segments),
        }
    }
}

fn failed(map: &'static str) -> impl Fn(MapError) -> CollectError {
    move |source| CollectError::Map { map, source }
}

impl Maps for KernelMaps {
    fn entry(&self, pid: u32) -> Option<ProcessEntry> {
        self.processes.get(&pid, 0).ok().map(|entry| entry.0)
    }

    fn insert(&mut self, pid: u32, entry: ProcessEntry) -> Result<(), CollectError> {
        self.processes
            .insert(pid, PlainProcess(entry), 0)
            .map_err(failed("PROCESSES"))
    }

    fn remove(&mut self, pid: u32) -> Result<(), CollectError> {
        match self.processes.remove(&pid) {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
            {
                Ok(())
            }
            Err(source) => Err(failed("PROCESSES")(source)),
        }
    }

    fn set_chunk(&mut self, slot: u32, chunk: MappingChunk) -> Result<(), CollectError> {
        self.chunks
            .set(slot, PlainChunk(chunk), 0)
            .map_err(failed("CHUNKS"))
    }

    fn set_rule(&mut self, index: u32, rule: Rule) -> Result<(), CollectError> {
        self.rules
            .set(index, PlainRule(rule), 0)
            .map_err(failed("RULES"))
    }

    fn set_runtime(&mut self, slot: u32, runtime: RuntimeEntry) -> Result<(), CollectError> {
        self.runtimes
            .set(slot, PlainRuntime(runtime), 0)
            .map_err(failed("RUNTIMES"))
    }

    fn create_segment(&mut self, index: u32, blocks: u32) -> Result<(), CollectError> {
        self.memory.create(index, blocks)
    }

    fn remove_segment(&mut self, index: u32) -> Result<(), CollectError> {
        self.memory.remove(index)
    }

    fn write_table(&mut self, place: TablePlace, words: &[u32]) -> Result<(), CollectError> {
        self.memory.write(place, words)
    }

    fn set_word(&mut self, place: TablePlace, index: u32, word: u32) -> Result<(), CollectError> {
        self.memory.set_word(place, index, word)
    }

    fn word(&self, place: TablePlace, index: u32) -> Option<u32> {
        self.memory.word(place, index)
    }

    fn rest(&mut self) {
        self.memory.unmap();
    }
}
