//! Unwind tables: loaded while their budget lasts, unloaded when nobody uses them.

use profiler_common::layout::TablePlace;
use profiler_common::unwind::table::BLOCK_WORDS;

use super::Publisher;
use crate::collect::CollectError;
use crate::profile::{BootTime, ElfAddress, ExecutableId, LossCause};

/// A table that was not used for this long may be replaced by another one.
const IDLE_NANOSECONDS: u64 = 30_000_000_000;

/// A table that the kernel side has.
#[derive(Clone, Copy)]
pub(super) struct Loaded {
    pub(super) place: TablePlace,
    blocks: u32,
    pub(super) start: ElfAddress,
    pub(super) buckets: u32,
    used: BootTime,
}

impl Publisher {
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
}
