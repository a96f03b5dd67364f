//! Writes what the kernel side knows of processes and unwind tables.
//!
//! A process is published as a whole: its mappings in chunks (shared by content), then its entry,
//! which replaces the former one at once. A table is written to its segment before any mapping
//! refers to it, and mappings stop referring to it before its place is given back (`tables`).
//! What is known of language runtimes is shared by content too (`runtimes`).
//!
//! Every operation on a map may fail (no memory, no room, busy). A process whose entry could not be written keeps the
//! entry that it has, with everything that it refers to, until [`Publisher::retry`] writes the new one. Nothing that
//! the kernel side may still refer to is reused.

mod mapping;
mod maps;
mod runtimes;
mod tables;

use std::collections::BTreeSet;

use aya::maps::{Array, HashMap, MapData};
use hashbrown::{HashMap as Table, HashSet};
use profiler_common::layout::process::{CHUNKS_PER_PROCESS, MAX_CHUNKS, MAX_MAPPINGS};
use profiler_common::layout::runtime::MAX_RUNTIMES;
use profiler_common::layout::{MappingChunk, MappingEntry, ProcessEntry, RuntimeEntry};
use profiler_common::unwind::Rule;
use profiler_common::unwind::table::BLOCK_WORDS;

use self::mapping::PublishedMapping;
use self::maps::{KernelMaps, Maps, PlainChunk, PlainProcess, PlainRule, PlainRuntime};
use self::tables::Loaded;
pub use self::tables::{RuleNumber, TableLoad};
use super::CollectError;
use super::error::{Attempt, Refusal, errno_of};
use super::layout::{chunk_mappings, index_entry, left_out};
use super::of_maps::ArrayOf;
use super::segments::Segments;
use super::slots::Slots;
use crate::profile::{BootTime, Degradation, ExecutableId, ExecutableMapping, Losses};

/// Entries that are written again in one call of [`Publisher::retry`].
const RETRIES: usize = 256;

/// Writes processes and tables, and remembers what it wrote.
pub struct Publisher<M = KernelMaps> {
    maps: M,
    slots: Slots<MappingChunk>,
    runtime_slots: Slots<RuntimeEntry>,
    segments: Segments,
    published: Table<u32, Published>,
    /// Processes whose entry in the kernel is not what it should be.
    stale: BTreeSet<u32>,
    /// The process that was written again last.
    retried: u32,
    /// Processes that ended and whose entry could not be removed.
    gone: Table<u32, Written>,
    users: Table<ExecutableId, HashSet<u32>>,
    tables: Table<ExecutableId, Loaded>,
    budget_blocks: u64,
    losses: Losses,
    /// Why the last operation failed that did since somebody asked.
    trouble: Option<String>,
}

struct Published {
    image: BootTime,
    /// Up to when all execs are known in this.
    as_of: BootTime,
    mappings: Vec<PublishedMapping>,
    /// Index of its runtime; 0 for none.
    runtime: u32,
    written: Written,
}

/// What an entry in the kernel refers to.
#[derive(Default)]
struct Written {
    slots: Vec<u32>,
    /// Index of its runtime; 0 for none.
    runtime: u32,
    executables: Vec<ExecutableId>,
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
        let maps = KernelMaps::new(processes, chunks, rules, runtimes, segments);
        Ok(Self::over(maps, budget_bytes))
    }
}

impl<M: Maps> Publisher<M> {
    fn over(maps: M, budget_bytes: u64) -> Self {
        Self {
            maps,
            slots: Slots::new(0..MAX_CHUNKS as u32),
            runtime_slots: Slots::new(1..MAX_RUNTIMES as u32),
            segments: Segments::default(),
            published: Table::new(),
            stale: BTreeSet::new(),
            retried: 0,
            gone: Table::new(),
            users: Table::new(),
            tables: Table::new(),
            budget_blocks: budget_bytes / (4 * BLOCK_WORDS as u64),
            losses: Losses::default(),
            trouble: None,
        }
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
    ) {
        let mut wanted: Vec<PublishedMapping> = mappings.filter_map(PublishedMapping::of).collect();
        wanted.sort_unstable_by_key(|mapping| mapping.start);
        if wanted.len() > MAX_MAPPINGS {
            self.losses.add(Degradation::MappingTableFull, 1);
        }
        if let Some(range) = left_out(wanted.len(), MAX_MAPPINGS) {
            wanted.drain(range);
        }
        if self.exec_was_seen(pid, as_of) {
            return;
        }
        for mapping in &wanted {
            self.users
                .entry(mapping.executable)
                .or_default()
                .insert(pid);
        }
        let mut written = self.gone.remove(&pid).unwrap_or_default();
        let mut runtime = 0;
        if let Some(before) = self.published.remove(&pid) {
            for mapping in &before.mappings {
                if !wanted
                    .iter()
                    .any(|new| new.executable == mapping.executable)
                {
                    self.forget_user(mapping.executable, pid);
                }
            }
            written = before.written;
            if before.image == image {
                runtime = before.runtime;
            } else if before.runtime != written.runtime {
                self.runtime_slots.release(before.runtime, as_of);
            }
        }
        let published = Published {
            image,
            as_of,
            mappings: wanted,
            runtime,
            written,
        };
        self.published.insert(pid, published);
        self.write(pid, as_of);
    }

    /// Has the kernel side dropped what was published of a process? It drops the mappings at the end of an
    /// exec, when side-band records have told of the new ones already: a program that maps nothing later is
    /// not published again by itself.
    #[must_use]
    pub fn is_emptied(&self, pid: u32) -> bool {
        let entry = self.maps.entry(pid);
        self.published.contains_key(&pid)
            && entry.is_none_or(|entry| entry.state != ProcessEntry::KNOWN)
    }

    /// Forgets a process that ended.
    pub fn forget(&mut self, pid: u32, now: BootTime) {
        let Some(published) = self.published.remove(&pid) else {
            return;
        };
        self.stale.remove(&pid);
        for mapping in &published.mappings {
            self.forget_user(mapping.executable, pid);
        }
        if published.runtime != published.written.runtime {
            self.runtime_slots.release(published.runtime, now);
        }
        self.remove(pid, published.written, now);
    }

    /// Removes an entry; what it refers to stays as it is until that succeeds.
    fn remove(&mut self, pid: u32, written: Written, now: BootTime) {
        match self.maps.remove(pid) {
            Ok(()) => self.release(written, now),
            Err(error) => {
                self.failed("PROCESSES", &error);
                self.gone.insert(pid, written);
            }
        }
    }

    fn release(&mut self, written: Written, now: BootTime) {
        for slot in written.slots {
            self.slots.release(slot, now);
        }
        self.runtime_slots.release(written.runtime, now);
    }

    fn forget_user(&mut self, executable: ExecutableId, pid: u32) {
        if let Some(users) = self.users.get_mut(&executable) {
            users.remove(&pid);
            if users.is_empty() {
                self.users.remove(&executable);
            }
        }
    }

    /// Writes again what could not be written; to be called about once a second.
    pub fn retry(&mut self, now: BootTime) {
        let gone: Vec<u32> = self.gone.keys().copied().take(RETRIES).collect();
        for pid in gone {
            if let Some(written) = self.gone.remove(&pid) {
                self.remove(pid, written, now);
            }
        }
        let behind = self.stale.range(self.retried.saturating_add(1)..);
        let in_turn = behind.chain(self.stale.range(..=self.retried));
        let stale: Vec<u32> = in_turn.copied().take(RETRIES).collect();
        for pid in stale {
            self.retried = pid;
            if !self.rewrite(pid, now) {
                continue;
            }
            // It is written, or the agent is about to publish a newer image.
            self.stale.remove(&pid);
        }
    }

    /// Writes rules into the array that all tables share, from index `first` on. False when one of them could not be
    /// written.
    pub fn write_rules(&mut self, first: u32, rules: &[Rule]) -> bool {
        let written = (first..)
            .zip(rules)
            .try_for_each(|(index, rule)| self.maps.set_rule(index, *rule));
        match written {
            Ok(()) => true,
            Err(error) => {
                self.failed("RULES", &error);
                false
            }
        }
    }

    /// Writes the entries of all processes that map this file again. False when one of them could not be written.
    fn rewrite_users(&mut self, executable: ExecutableId, now: BootTime) -> bool {
        let mut all = true;
        for pid in self.users_of(executable) {
            all &= self.rewrite(pid, now);
        }
        all
    }

    /// Writes a published process again. False when it could not be written.
    fn rewrite(&mut self, pid: u32, now: BootTime) -> bool {
        let Some(published) = self.published.get(&pid) else {
            return true;
        };
        // An exec since the last publication makes the entry stale; the kernel side has marked
        // it, and the agent is about to publish the new image.
        self.exec_was_seen(pid, published.as_of) || self.write(pid, now)
    }

    /// Has the kernel side seen an exec that the agent has not, which knows of all up to `as_of`?
    fn exec_was_seen(&self, pid: u32, as_of: BootTime) -> bool {
        self.maps
            .entry(pid)
            .is_some_and(|entry| entry.state != ProcessEntry::KNOWN && entry.image > as_of.0)
    }

    /// Writes a published process's chunks and entry. False when that failed: the entry is what it was then.
    fn write(&mut self, pid: u32, now: BootTime) -> bool {
        let Some(published) = self.published.get(&pid) else {
            return true;
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
        let mut slots = Vec::new();
        let mut top = self.write_chunks(&entries, &mut slots, now);
        if let Ok(leaves) = &top
            && leaves.len() > CHUNKS_PER_PROCESS
        {
            entry.index = 1;
            top = self.write_chunks(leaves, &mut slots, now);
        }
        let failed = match top {
            Ok(top) => {
                for (index, chunk) in top.iter().enumerate().take(CHUNKS_PER_PROCESS) {
                    entry.table.first[index] = chunk.start;
                    entry.table.slot[index] = chunk.table;
                    entry.chunks += 1;
                }
                let inserted = self.maps.insert(pid, entry);
                inserted.err().map(|error| ("PROCESSES", error))
            }
            Err(error) => Some(("CHUNKS", error)),
        };
        if let Some((map, error)) = failed {
            for slot in slots {
                self.slots.release(slot, now);
            }
            let is_new = self.stale.insert(pid);
            if errno_of(&error) != Some(libc::E2BIG) {
                self.failed(map, &error);
            } else if is_new {
                self.losses.add(Degradation::ProcessTableFull, 1);
            }
            return false;
        }
        let Some(published) = self.published.get_mut(&pid) else {
            return true;
        };
        let written = Written {
            slots,
            runtime: published.runtime,
            executables: published
                .mappings
                .iter()
                .map(|mapping| mapping.executable)
                .collect(),
        };
        let mut before = std::mem::replace(&mut published.written, written);
        if before.runtime == published.runtime {
            before.runtime = 0;
        }
        self.release(before, now);
        self.stale.remove(&pid);
        true
    }

    /// Writes sorted entries as chunks, as many as there is room for; what stands for each in an index. Their slots are
    /// added to `slots`, also where one could not be written.
    fn write_chunks(
        &mut self,
        entries: &[MappingEntry],
        slots: &mut Vec<u32>,
        now: BootTime,
    ) -> Result<Vec<MappingEntry>, CollectError> {
        let mut written = Vec::new();
        for chunk in chunk_mappings(entries) {
            let Some(slot) = self.slots.acquire(&chunk, now) else {
                self.losses.add(Degradation::MappingTableFull, 1);
                break;
            };
            slots.push(slot.slot);
            if slot.write {
                self.maps.set_chunk(slot.slot, chunk)?;
            }
            written.push(index_entry(&chunk, slot.slot));
        }
        Ok(written)
    }

    /// Counts an operation that failed, and notes why.
    fn failed(&mut self, map: &str, error: &CollectError) {
        self.losses.add(Degradation::MapFailed, 1);
        self.trouble = Some(Refusal::of(Attempt::UseMap(map), error).to_string());
    }

    /// Why operations on maps failed since the last call, if any did; with how much waits for them.
    pub fn take_trouble(&mut self) -> Option<String> {
        let waiting = self.stale.len() + self.gone.len();
        let trouble = self.trouble.take()?;
        Some(if waiting == 0 {
            trouble
        } else {
            format!("{trouble} It is tried again every second.")
        })
    }

    /// What was lost since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

#[cfg(test)]
mod tests;
