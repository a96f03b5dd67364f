//! Writes what the kernel side knows of processes and unwind tables.
//!
//! A process is published as a whole: its mappings in chunks (shared by content), then its entry,
//! which replaces the former one at once. A table is written to its segment before any mapping
//! refers to it, and mappings stop referring to it before its place is given back (`tables`).
//! What is known of language runtimes is shared by content too (`runtimes`).

mod mapping;
mod runtimes;
mod tables;

use aya::Pod;
use aya::maps::{Array, HashMap, MapData, MapError};
use hashbrown::{HashMap as Table, HashSet};
use profiler_common::layout::process::{MAX_CHUNKS, MAX_MAPPINGS};
use profiler_common::layout::runtime::MAX_RUNTIMES;
use profiler_common::layout::{MappingChunk, MappingEntry, ProcessEntry, RuntimeEntry};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::BLOCK_WORDS;

use self::mapping::PublishedMapping;
use self::tables::Loaded;
use super::CollectError;
use super::layout::chunk_mappings;
use super::of_maps::ArrayOf;
use super::segment_memory::SegmentMemory;
use super::segments::Segments;
use super::slots::Slots;
use crate::profile::{BootTime, ExecutableId, ExecutableMapping, LossCause, Losses};

macro_rules! plain {
    ($name:ident, $inner:ty) => {
        /// A layout that crosses the kernel boundary as it is.
        #[repr(transparent)]
        #[derive(Clone, Copy)]
        pub(super) struct $name(pub(super) $inner);
        // SAFETY: the inner type is repr(C) and consists of integers only.
        unsafe impl Pod for $name {}
    };
}
plain!(PlainProcess, ProcessEntry);
plain!(PlainChunk, MappingChunk);
plain!(PlainRule, Rule);
plain!(PlainRuntime, RuntimeEntry);

/// Writes processes and tables, and remembers what it wrote.
pub struct Publisher {
    processes: HashMap<MapData, u32, PlainProcess>,
    chunks: Array<MapData, PlainChunk>,
    rules: Array<MapData, PlainRule>,
    runtimes: Array<MapData, PlainRuntime>,
    memory: SegmentMemory,
    slots: Slots<MappingChunk>,
    runtime_slots: Slots<RuntimeEntry>,
    segments: Segments,
    published: Table<u32, Published>,
    users: Table<ExecutableId, HashSet<u32>>,
    tables: Table<ExecutableId, Loaded>,
    budget_blocks: u64,
    losses: Losses,
}

struct Published {
    image: BootTime,
    mappings: Vec<PublishedMapping>,
    slots: Vec<u32>,
    /// Index of its runtime; 0 for none.
    runtime: u32,
}

impl Publisher {
    pub(super) fn new(
        processes: HashMap<MapData, u32, PlainProcess>,
        chunks: Array<MapData, PlainChunk>,
        rules: Array<MapData, PlainRule>,
        runtimes: Array<MapData, PlainRuntime>,
        segments: ArrayOf,
        budget_bytes: u64,
    ) -> Result<Self, CollectError> {
        Ok(Self {
            processes,
            chunks,
            rules,
            runtimes,
            memory: SegmentMemory::new(segments),
            slots: Slots::new(0..MAX_CHUNKS as u32),
            runtime_slots: Slots::new(1..MAX_RUNTIMES as u32),
            segments: Segments::default(),
            published: Table::new(),
            users: Table::new(),
            tables: Table::new(),
            budget_blocks: budget_bytes / (4 * BLOCK_WORDS as u64),
            losses: Losses::default(),
        })
    }

    /// Publishes a process's mappings as they are now. `as_of` is a time up to which the agent knows
    /// of all execs: when the kernel side has seen a later one, nothing is written, because what
    /// is known belongs to the image before.
    pub fn publish<'a>(
        &mut self,
        pid: u32,
        image: BootTime,
        mappings: impl Iterator<Item = &'a ExecutableMapping>,
        as_of: BootTime,
    ) -> Result<(), CollectError> {
        let mut wanted: Vec<PublishedMapping> = mappings.filter_map(PublishedMapping::of).collect();
        wanted.sort_unstable_by_key(|mapping| mapping.start);
        if wanted.len() > MAX_MAPPINGS {
            self.losses.add(LossCause::MappingTableFull, 1);
            wanted.truncate(MAX_MAPPINGS);
        }
        if let Ok(PlainProcess(entry)) = self.processes.get(&pid, 0)
            && entry.state != ProcessEntry::KNOWN
            && entry.image > as_of.0
        {
            return Ok(());
        }
        for mapping in &wanted {
            self.users
                .entry(mapping.executable)
                .or_default()
                .insert(pid);
        }
        let before = self.published.remove(&pid);
        if let Some(before) = &before {
            for mapping in &before.mappings {
                if !wanted
                    .iter()
                    .any(|new| new.executable == mapping.executable)
                {
                    self.forget_user(mapping.executable, pid);
                }
            }
        }
        let published = Published {
            image,
            mappings: wanted,
            slots: Vec::new(),
            runtime: match &before {
                Some(before) if before.image == image => before.runtime,
                _ => 0,
            },
        };
        let runtime = published.runtime;
        self.published.insert(pid, published);
        self.write(pid, as_of)?;
        if let Some(before) = before {
            if before.runtime != runtime {
                self.runtime_slots.release(before.runtime, as_of);
            }
            for slot in before.slots {
                self.slots.release(slot, as_of);
            }
        }
        Ok(())
    }

    /// Forgets a process that ended.
    pub fn forget(&mut self, pid: u32, now: BootTime) -> Result<(), CollectError> {
        let Some(published) = self.published.remove(&pid) else {
            return Ok(());
        };
        match self.processes.remove(&pid) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(source) => return Err(map_error("PROCESSES", source)),
        }
        for mapping in &published.mappings {
            self.forget_user(mapping.executable, pid);
        }
        for slot in published.slots {
            self.slots.release(slot, now);
        }
        self.runtime_slots.release(published.runtime, now);
        Ok(())
    }

    fn forget_user(&mut self, executable: ExecutableId, pid: u32) {
        if let Some(users) = self.users.get_mut(&executable) {
            users.remove(&pid);
            if users.is_empty() {
                self.users.remove(&executable);
            }
        }
    }

    /// Writes rules into the array that all tables share, from index `first` on.
    pub fn write_rules(&mut self, first: u32, rules: &[Rule]) -> Result<(), CollectError> {
        (first..).zip(rules).try_for_each(|(index, rule)| {
            self.rules
                .set(index, PlainRule(*rule), 0)
                .map_err(|source| map_error("RULES", source))
        })
    }

    fn rewrite_users(
        &mut self,
        executable: ExecutableId,
        now: BootTime,
    ) -> Result<(), CollectError> {
        let users: Vec<u32> = self
            .users
            .get(&executable)
            .map(|users| users.iter().copied().collect())
            .unwrap_or_default();
        users.into_iter().try_for_each(|pid| self.rewrite(pid, now))
    }

    /// Writes a published process again.
    fn rewrite(&mut self, pid: u32, now: BootTime) -> Result<(), CollectError> {
        let before = match self.published.get_mut(&pid) {
            Some(published) => std::mem::take(&mut published.slots),
            None => return Ok(()),
        };
        // An exec since the last publication makes the entry stale; the kernel side has marked
        // it, and the agent is about to publish the new image.
        let stale = self
            .processes
            .get(&pid, 0)
            .map_or(true, |entry| entry.0.state != ProcessEntry::KNOWN);
        if !stale {
            self.write(pid, now)?;
        }
        for slot in before {
            self.slots.release(slot, now);
        }
        Ok(())
    }

    /// Writes a published process's chunks and entry.
    fn write(&mut self, pid: u32, now: BootTime) -> Result<(), CollectError> {
        let Some(published) = self.published.get_mut(&pid) else {
            return Ok(());
        };
        let tables = &self.tables;
        let entries: Vec<MappingEntry> = published
            .mappings
            .iter()
            .map(|mapping| mapping.entry(tables.get(&mapping.executable)))
            .collect();
        let mut entry = ProcessEntry::empty(published.image.0);
        entry.state = ProcessEntry::KNOWN;
        entry.runtime = published.runtime;
        for chunk in chunk_mappings(&entries) {
            let Some(slot) = self.slots.acquire(&chunk, now) else {
                self.losses.add(LossCause::MappingTableFull, 1);
                break;
            };
            if slot.write {
                self.chunks
                    .set(slot.slot, PlainChunk(chunk), 0)
                    .map_err(|source| map_error("CHUNKS", source))?;
            }
            let index = entry.chunks as usize;
            entry.table.first[index] = chunk.mappings[0].start;
            entry.table.slot[index] = slot.slot;
            entry.chunks += 1;
            published.slots.push(slot.slot);
        }
        match self.processes.insert(pid, PlainProcess(entry), 0) {
            Ok(()) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(libc::E2BIG) =>
            {
                self.losses.add(LossCause::ProcessTableFull, 1);
                Ok(())
            }
            Err(source) => Err(map_error("PROCESSES", source)),
        }
    }

    /// What was lost since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

const fn map_error(map: &'static str, source: MapError) -> CollectError {
    CollectError::Map { map, source }
}
