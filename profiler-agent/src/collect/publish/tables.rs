//! Unwind tables: loaded while their budget lasts, unloaded when nobody uses them.

use profiler_common::layout::TablePlace;
use profiler_common::unwind::table::BLOCK_WORDS;

use super::Publisher;
use super::maps::Maps;
use crate::profile::{BootTime, ElfAddress, ExecutableId, LossCause};

/// A table that was not used for this long may be replaced by another one.
const IDLE_NANOSECONDS: u64 = 30_000_000_000;

/// What came of loading a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLoad {
    /// The kernel side has it.
    Loaded,
    /// It has no room for it: tables in use take all.
    NoRoom,
    /// The kernel refused it: to be tried again soon.
    Refused,
}

/// A table that the kernel side has.
#[derive(Clone, Copy)]
pub(super) struct Loaded {
    pub(super) place: TablePlace,
    blocks: u32,
    pub(super) start: ElfAddress,
    pub(super) buckets: u32,
    used: BootTime,
}

impl<M: Maps> Publisher<M> {
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
    /// processes to it. What keeps it from being loaded is counted. A table without words (of a file that has none) makes them fall back to frame pointers for good.
    pub fn load_table(
        &mut self,
        executable: ExecutableId,
        start: ElfAddress,
        buckets: u32,
        words: &[u32],
        now: BootTime,
    ) -> TableLoad {
        if self.has_table(executable) {
            return TableLoad::Loaded;
        }
        let blocks = words.len().div_ceil(BLOCK_WORDS) as u32;
        let mut loaded = Loaded {
            place: TablePlace(0),
            blocks,
            start,
            buckets: 0,
            used: now,
        };
        if blocks > 0 {
            loaded.buckets = buckets;
            match self.write_table(blocks, words, now) {
                Ok(place) => loaded.place = place,
                Err(why) => return why,
            }
        }
        self.tables.insert(executable, loaded);
        // Who cannot be told of it now is told by `retry`.
        self.rewrite_users(executable, now);
        TableLoad::Loaded
    }

    /// Finds a place for a table and writes it there.
    fn write_table(
        &mut self,
        blocks: u32,
        words: &[u32],
        now: BootTime,
    ) -> Result<TablePlace, TableLoad> {
        while self.used_blocks() + u64::from(blocks) > self.budget_blocks {
            let unloaded = self
                .least_used(now)
                .is_some_and(|idle| self.unload_table(idle, now));
            if !unloaded {
                self.losses.add(LossCause::UnwindTableBudget, 1);
                return Err(TableLoad::NoRoom);
            }
        }
        let Some(placement) = self.segments.place(blocks) else {
            self.losses.add(LossCause::UnwindTableBudget, 1);
            return Err(TableLoad::NoRoom);
        };
        let place = placement.place;
        let created = placement.create.map_or(Ok(()), |length| {
            self.maps.create_segment(place.segment(), length)
        });
        let written = created.and_then(|()| self.maps.write_table(place, words));
        if let Err(error) = written {
            self.failed("SEGMENTS", &error);
            self.give_back(place, blocks);
            return Err(TableLoad::Refused);
        }
        Ok(place)
    }

    /// Unloads a table: the processes that map the file fall back to frame pointers. False when one of them cannot be told:
    /// the table stays then.
    pub fn unload_table(&mut self, executable: ExecutableId, now: BootTime) -> bool {
        let Some(loaded) = self.tables.remove(&executable) else {
            return true;
        };
        let told = self.rewrite_users(executable, now);
        if !told || self.is_referred_to(executable) {
            self.tables.insert(executable, loaded);
            let users = self.users_of(executable);
            self.stale.extend(users);
            return false;
        }
        if loaded.blocks > 0 {
            self.give_back(loaded.place, loaded.blocks);
        }
        true
    }

    /// Does an entry that could not be brought up to date refer to this file's table?
    fn is_referred_to(&self, executable: ExecutableId) -> bool {
        let stale = self.stale.iter().filter_map(|pid| self.published.get(pid));
        stale
            .map(|published| &published.written)
            .chain(self.gone.values())
            .any(|written| written.executables.contains(&executable))
    }

    fn give_back(&mut self, place: TablePlace, blocks: u32) {
        if let Some(segment) = self.segments.release(place, blocks)
            && let Err(error) = self.maps.remove_segment(u32::from(segment))
        {
            // Its memory is given back when another segment takes its index.
            self.failed("SEGMENTS", &error);
        }
    }

    /// Unloads the tables of files that no published process maps and that no sample hit for
    /// 30 s.
    pub fn unload_idle(&mut self, now: BootTime) {
        let idle: Vec<ExecutableId> = self
            .tables
            .iter()
            .filter(|(executable, table)| {
                !self.users.contains_key(*executable)
                    && now.0.saturating_sub(table.used.0) > IDLE_NANOSECONDS
            })
            .map(|(executable, _)| *executable)
            .collect();
        for executable in idle {
            self.unload_table(executable, now);
        }
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
