//! Unwind tables: a directory for each file, and the tables of the pages of it that were hit. They are loaded while their
//! budget lasts, and unloaded when nobody uses the file.

use hashbrown::HashMap;
use profiler_common::layout::TablePlace;
use profiler_common::unwind::table::{
    BLOCK_WORDS, PAGE_BITS, PAGE_BUCKETS, PAGE_EMPTY, PAGE_MISSING, Words, rule_index,
};

use super::Publisher;
use super::maps::Maps;
use crate::profile::{BootTime, Degradation, ElfAddress, ExecutableId};

/// A table that was not used for this long may be replaced by another one.
const IDLE_NANOSECONDS: u64 = 30_000_000_000;

/// Number of `Rule::NONE`.
const NO_INFORMATION: u16 = 0;

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

/// What the loaded tables say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleNumber {
    /// The file's directory is not loaded.
    NoTable,
    /// The table of this page is not loaded.
    NoPage(u32),
    /// Its rule has this number; 0 where the table says nothing.
    Is(u16),
    /// The table is inconsistent.
    Corrupt,
}

/// A loaded table's words.
struct LoadedWords<'a, M> {
    maps: &'a M,
    place: TablePlace,
}

impl<M: Maps> Words for LoadedWords<'_, M> {
    fn word(&self, index: u32) -> Option<u32> {
        self.maps.word(self.place, index)
    }
}

/// A run of blocks.
#[derive(Clone, Copy)]
struct Run {
    place: TablePlace,
    blocks: u32,
}

/// What the kernel side has of a file.
pub(super) struct Loaded {
    /// The directory; nothing for a file that says nothing.
    directory: Option<Run>,
    pub(super) start: ElfAddress,
    /// Length of the directory.
    pub(super) pages: u32,
    /// The tables that are loaded, by page; `None` for a page of which nothing is known.
    loaded: HashMap<u32, Option<Run>>,
    used: BootTime,
}

impl Loaded {
    /// Where the directory is.
    pub(super) fn place(&self) -> TablePlace {
        self.directory.map_or(TablePlace(0), |run| run.place)
    }

    fn runs(&self) -> impl Iterator<Item = Run> {
        let pages = self.loaded.values().copied();
        pages.chain([self.directory]).flatten()
    }

    fn blocks(&self) -> u64 {
        self.runs().map(|run| u64::from(run.blocks)).sum()
    }
}

impl<M: Maps> Publisher<M> {
    /// Is this file's directory loaded?
    #[must_use]
    pub fn has_table(&self, executable: ExecutableId) -> bool {
        self.tables.contains_key(&executable)
    }

    /// What the kernel side's table says of an address as the file states it. [`Publisher::rest`] ends the reading.
    #[must_use]
    pub fn rule_number(&self, executable: ExecutableId, address: ElfAddress) -> RuleNumber {
        let Some(table) = self.tables.get(&executable) else {
            return RuleNumber::NoTable;
        };
        let offset = address.0.wrapping_sub(table.start.0);
        if offset >> PAGE_BITS >= u64::from(table.pages) {
            return RuleNumber::Is(NO_INFORMATION);
        }
        // Less than the `u32` that it was compared with.
        let page = (offset >> PAGE_BITS) as u32;
        let place = match table.loaded.get(&page) {
            None => return RuleNumber::NoPage(page),
            Some(None) => return RuleNumber::Is(NO_INFORMATION),
            Some(Some(run)) => run.place,
        };
        let words = LoadedWords {
            maps: &self.maps,
            place,
        };
        let offset = offset & ((1 << PAGE_BITS) - 1);
        rule_index(&words, PAGE_BUCKETS, offset).map_or(RuleNumber::Corrupt, RuleNumber::Is)
    }

    /// The number of the page of a loaded directory that an address as the file states it lies in.
    #[must_use]
    pub fn page_number(&self, executable: ExecutableId, address: ElfAddress) -> Option<u32> {
        let table = self.tables.get(&executable)?;
        let page = address.0.checked_sub(table.start.0)? >> PAGE_BITS;
        u32::try_from(page).ok().filter(|page| *page < table.pages)
    }

    /// No tables are read for a while.
    pub fn rest(&mut self) {
        self.maps.rest();
    }

    /// The published processes that map this file.
    #[must_use]
    pub fn users_of(&self, executable: ExecutableId) -> Vec<u32> {
        let users = self.users.get(&executable);
        users.map_or_else(Vec::new, |users| users.iter().copied().collect())
    }

    /// Notes that samples hit this file: tables that are not used go first.
    pub fn used(&mut self, executable: ExecutableId, now: BootTime) {
        if let Some(table) = self.tables.get_mut(&executable) {
            table.used = now;
        }
    }

    /// Loads the directory of a file whose table begins at `start` and has this many pages, none of which is there yet, and
    /// points the mappings of all published processes to it. What keeps it from being loaded is counted. A file without
    /// pages makes them fall back to frame pointers for good.
    pub fn load_table(
        &mut self,
        executable: ExecutableId,
        start: ElfAddress,
        pages: u32,
        now: BootTime,
    ) -> TableLoad {
        if self.has_table(executable) {
            return TableLoad::Loaded;
        }
        let mut directory = None;
        if pages > 0 {
            match self.write_table(executable, &vec![PAGE_MISSING; pages as usize], now) {
                Ok(run) => directory = Some(run),
                Err(why) => return why,
            }
        }
        let loaded = Loaded {
            directory,
            start,
            pages,
            loaded: HashMap::new(),
            used: now,
        };
        self.tables.insert(executable, loaded);
        // Who cannot be told of it now is told by `retry`.
        self.rewrite_users(executable, now);
        TableLoad::Loaded
    }

    /// Loads the table of a page of a file whose directory is loaded; its rows name shared rules. No words: nothing is
    /// known of any code in the page.
    pub fn load_page(
        &mut self,
        executable: ExecutableId,
        page: u32,
        words: &[u32],
        now: BootTime,
    ) -> TableLoad {
        let Some(table) = self.tables.get(&executable) else {
            // Unloaded since it was asked for: whoever hits it asks again.
            return TableLoad::Loaded;
        };
        let Some(directory) = table.directory.filter(|_| page < table.pages) else {
            return TableLoad::Loaded;
        };
        if table.loaded.contains_key(&page) {
            return TableLoad::Loaded;
        }
        let mut run = None;
        if !words.is_empty() {
            match self.write_table(executable, words, now) {
                Ok(written) => run = Some(written),
                Err(why) => return why,
            }
        }
        let word = run.map_or(PAGE_EMPTY, |run| run.place.0);
        if let Err(error) = self.maps.set_word(directory.place, page, word) {
            self.failed("SEGMENTS", &error);
            if let Some(run) = run {
                self.give_back(run);
            }
            return TableLoad::Refused;
        }
        if let Some(table) = self.tables.get_mut(&executable) {
            table.loaded.insert(page, run);
            table.used = now;
        }
        TableLoad::Loaded
    }

    /// Finds a place for words of this file's and writes them there.
    fn write_table(
        &mut self,
        executable: ExecutableId,
        words: &[u32],
        now: BootTime,
    ) -> Result<Run, TableLoad> {
        let blocks = words.len().div_ceil(BLOCK_WORDS) as u32;
        while self.used_blocks() + u64::from(blocks) > self.budget_blocks {
            let unloaded = self
                .least_used(executable, now)
                .is_some_and(|idle| self.unload_table(idle, now));
            if !unloaded {
                self.losses.add(Degradation::UnwindTableBudget, 1);
                return Err(TableLoad::NoRoom);
            }
        }
        let Some(placement) = self.segments.place(blocks) else {
            self.losses.add(Degradation::UnwindTableBudget, 1);
            return Err(TableLoad::NoRoom);
        };
        let place = placement.place;
        let created = placement.create.map_or(Ok(()), |length| {
            self.maps.create_segment(place.segment(), length)
        });
        let written = created.and_then(|()| self.maps.write_table(place, words));
        if let Err(error) = written {
            self.failed("SEGMENTS", &error);
            self.give_back(Run { place, blocks });
            return Err(TableLoad::Refused);
        }
        Ok(Run { place, blocks })
    }

    /// Unloads what is loaded of a file: the processes that map it fall back to frame pointers. False when one of them
    /// cannot be told: it stays then.
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
        for run in loaded.runs() {
            self.give_back(run);
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

    fn give_back(&mut self, run: Run) {
        if let Some(segment) = self.segments.release(run.place, run.blocks)
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
        self.tables.values().map(Loaded::blocks).sum()
    }

    /// Bytes that the kernel holds for tables.
    #[must_use]
    pub fn table_bytes(&self) -> u64 {
        self.segments.blocks() * 4 * BLOCK_WORDS as u64
    }

    /// The file to unload first, other than the one that room is made for: one without users if there is one, else the one
    /// that was used longest ago, if that is long enough.
    fn least_used(&self, but: ExecutableId, now: BootTime) -> Option<ExecutableId> {
        self.tables
            .iter()
            .filter(|(executable, table)| {
                **executable != but
                    && (!self.users.contains_key(*executable)
                        || now.0.saturating_sub(table.used.0) > IDLE_NANOSECONDS)
            })
            .min_by_key(|(executable, table)| (self.users.contains_key(*executable), table.used))
            .map(|(executable, _)| *executable)
    }
}
