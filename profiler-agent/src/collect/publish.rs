//! Writes what the kernel side knows of processes and unwind tables.
//!
//! A process is published as a whole: its mappings in chunks (shared by content), then its entry,
//! which replaces the former one at once. A table is written to its segment before any mapping
//! refers to it, and mappings stop referring to it before its place is given back.

use std::sync::Arc;

use aya::Pod;
use aya::maps::{Array, ArrayOfMaps, HashMap, MapData, MapError};
use hashbrown::{HashMap as Table, HashSet};
use profiler_common::layout::process::{MAX_CHUNKS, MAX_MAPPINGS, NO_TABLE};
use profiler_common::layout::runtime::MAX_RUNTIMES;
use profiler_common::layout::{MappingChunk, MappingEntry, ProcessEntry, RuntimeEntry, TablePlace};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::BLOCK_WORDS;

use super::CollectError;
use super::layout::{chunk_mappings, mapping_bias};
use super::segment_memory::SegmentMemory;
use super::segments::Segments;
use super::slots::Slots;
use crate::profile::{
    BootTime, ElfAddress, Executable, ExecutableId, ExecutableMapping, LossCause, Losses,
    MappingKind,
};

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

/// A table that was not used for this long may be replaced by another one.
const IDLE_NANOSECONDS: u64 = 30_000_000_000;

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

#[derive(Clone, Copy, PartialEq, Eq)]
struct PublishedMapping {
    start: u64,
    end: u64,
    executable: ExecutableId,
    /// Added (wrapping) to a pc it gives the file's own address.
    bias: u64,
}

#[derive(Clone, Copy)]
struct Loaded {
    place: TablePlace,
    blocks: u32,
    start: ElfAddress,
    buckets: u32,
    used: BootTime,
}

impl Publisher {
    pub(super) fn new(
        processes: HashMap<MapData, u32, PlainProcess>,
        chunks: Array<MapData, PlainChunk>,
        rules: Array<MapData, PlainRule>,
        runtimes: Array<MapData, PlainRuntime>,
        segments: ArrayOfMaps<MapData, MapData>,
        budget_bytes: u64,
    ) -> Result<Self, CollectError> {
        Ok(Self {
            processes,
            chunks,
            rules,
            runtimes,
            memory: SegmentMemory::new(segments)?,
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

    /// Says what is known of the runtime of a published process's image. Nothing is written when the
    /// process has another image by now, or none.
    ///
    /// # Errors
    /// The kernel refuses a map update.
    pub fn set_runtime(
        &mut self,
        pid: u32,
        image: BootTime,
        runtime: &RuntimeEntry,
        now: BootTime,
    ) -> Result<(), CollectError> {
        let Some(published) = self.published.get_mut(&pid) else {
            return Ok(());
        };
        if published.image != image {
            return Ok(());
        }
        let Some(slot) = self.runtime_slots.acquire(runtime, now) else {
            self.losses.add(LossCause::RuntimeTableFull, 1);
            return Ok(());
        };
        if slot.write {
            self.runtimes
                .set(slot.slot, PlainRuntime(*runtime), 0)
                .map_err(|source| map_error("RUNTIMES", source))?;
        }
        let before = std::mem::replace(&mut published.runtime, slot.slot);
        self.runtime_slots.release(before, now);
        self.rewrite(pid, now)
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

    /// Is this file's table loaded?
    #[must_use]
    pub fn has_table(&self, executable: ExecutableId) -> bool {
        self.tables.contains_key(&executable)
    }

    /// The published processes that map this file.
    #[must_use]
    pub fn users_of(&self, executable: ExecutableId) -> Vec<u32> {
        let users = self.users.get(&executable);
        users.map_or_else(Vec::new, |users| users.iter().copied().collect())
    }

    /// Files that published processes map and whose table is not loaded.
    #[must_use]
    pub fn lacks_table(&self, pid: u32) -> Vec<ExecutableId> {
        let Some(published) = self.published.get(&pid) else {
            return Vec::new();
        };
        published
            .mappings
            .iter()
            .map(|mapping| mapping.executable)
            .filter(|executable| !self.has_table(*executable))
            .collect()
    }

    /// Notes that samples hit this file: tables that are not used go first.
    pub fn used(&mut self, executable: ExecutableId, now: BootTime) {
        if let Some(table) = self.tables.get_mut(&executable) {
            table.used = now;
        }
    }

    /// Loads a table (its rows name shared rules) and points the mappings of all published
    /// processes to it. False, and counted, when the budget is used up by tables in use.
    /// A table without words (of a file that has none) makes them fall back to frame pointers for good.
    pub fn load_table(
        &mut self,
        executable: ExecutableId,
        start: ElfAddress,
        buckets: u32,
        words: &[u32],
        now: BootTime,
    ) -> Result<bool, CollectError> {
        if self.has_table(executable) {
            return Ok(true);
        }
        let blocks = words.len().div_ceil(BLOCK_WORDS) as u32;
        if blocks == 0 {
            let nothing = Loaded {
                place: TablePlace(0),
                blocks,
                start,
                buckets: 0,
                used: now,
            };
            self.tables.insert(executable, nothing);
            self.rewrite_users(executable, now)?;
            return Ok(true);
        }
        while self.used_blocks() + u64::from(blocks) > self.budget_blocks {
            let Some(idle) = self.least_used(now) else {
                self.losses.add(LossCause::UnwindTableBudget, 1);
                return Ok(false);
            };
            self.unload_table(idle, now)?;
        }
        let Some(placement) = self.segments.place(blocks) else {
            self.losses.add(LossCause::UnwindTableBudget, 1);
            return Ok(false);
        };
        if let Some(length) = placement.create {
            self.memory.create(placement.place.segment(), length)?;
        }
        self.memory.write(placement.place, words)?;
        let loaded = Loaded {
            place: placement.place,
            blocks,
            start,
            buckets,
            used: now,
        };
        self.tables.insert(executable, loaded);
        self.rewrite_users(executable, now)?;
        Ok(true)
    }

    /// Unloads a table: the processes that map the file fall back to frame pointers.
    pub fn unload_table(
        &mut self,
        executable: ExecutableId,
        now: BootTime,
    ) -> Result<(), CollectError> {
        let Some(loaded) = self.tables.remove(&executable) else {
            return Ok(());
        };
        self.rewrite_users(executable, now)?;
        if loaded.blocks == 0 {
            return Ok(());
        }
        if let Some(segment) = self.segments.release(loaded.place, loaded.blocks) {
            self.memory.remove(u32::from(segment))?;
        }
        Ok(())
    }

    /// Unloads the tables of files that no published process maps and that no sample hit for
    /// 30 s.
    pub fn unload_idle(&mut self, now: BootTime) -> Result<(), CollectError> {
        let idle: Vec<ExecutableId> = self
            .tables
            .iter()
            .filter(|(executable, table)| {
                !self.users.contains_key(*executable)
                    && now.0.saturating_sub(table.used.0) > IDLE_NANOSECONDS
            })
            .map(|(executable, _)| *executable)
            .collect();
        idle.into_iter()
            .try_for_each(|executable| self.unload_table(executable, now))
    }

    fn used_blocks(&self) -> u64 {
        self.tables
            .values()
            .map(|table| u64::from(table.blocks))
            .sum()
    }

    /// Bytes that the kernel holds for tables.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.segments.blocks() * 4 * BLOCK_WORDS as u64
    }

    /// The table to unload first: one without users if there is one, else the one that was used
    /// longest ago, if that is long enough.
    fn least_used(&self, now: BootTime) -> Option<ExecutableId> {
        self.tables
            .iter()
            .filter(|(executable, table)| {
                !self.users.contains_key(*executable)
                    || now.0.saturating_sub(table.used.0) > IDLE_NANOSECONDS
            })
            .min_by_key(|(executable, table)| (self.users.contains_key(*executable), table.used))
            .map(|(executable, _)| *executable)
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

impl PublishedMapping {
    fn of(mapping: &ExecutableMapping) -> Option<Self> {
        let MappingKind::File { executable, offset } = &mapping.kind else {
            return None;
        };
        let executable: &Arc<Executable> = executable;
        Some(Self {
            start: mapping.range.start.0,
            end: mapping.range.end.0,
            executable: executable.id,
            bias: mapping_bias(&mapping.range, *offset, &executable.segments)?,
        })
    }

    fn entry(&self, table: Option<&Loaded>) -> MappingEntry {
        MappingEntry {
            start: self.start,
            end: self.end,
            bias: table.map_or(0, |table| self.bias.wrapping_sub(table.start.0)),
            table: table.map_or(NO_TABLE, |table| table.place.0),
            buckets: table.map_or(0, |table| table.buckets),
        }
    }
}

const fn map_error(map: &'static str, source: MapError) -> CollectError {
    CollectError::Map { map, source }
}
