//! Tables of whole files, and the pages that are cut out of them.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::{CachePlace, MAX_HANGING, Order, Outgoing, What, may_hang};
use crate::confine::{Attempts, Unfinished};
use crate::elf::{self, MappedFile};
use crate::go::{self, LineTable};
use crate::profile::{Degradation, Executable, ExecutableId, HtlHash, UnwindTable};
use crate::unwind::{Absent, Layout, TableCache, TableKey, build, build_go, page_of};
use profiler_common::unwind::table::PAGE_BUCKETS;

/// How long a table of a file whose file system may hang is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tables that were built last.
pub(super) struct Whole {
    cache: Option<TableCache>,
    attempts: Attempts,
    /// The last one used comes last.
    kept: VecDeque<(ExecutableId, Arc<UnwindTable>)>,
    /// Bytes of them that are kept for the next page.
    most: usize,
}

impl Whole {
    pub(super) fn new(place: Option<CachePlace>, most: usize) -> Self {
        let cache = place.and_then(|place| {
            TableCache::open(&place.directory, place.max_bytes)
                .inspect_err(|error| tracing::warn!(%error, "unwind tables are not kept on disk"))
                .ok()
        });
        Self {
            cache,
            attempts: Attempts::new("table-reader", MAX_HANGING),
            kept: VecDeque::new(),
            most,
        }
    }

    /// Keeps no table any longer.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    /// Sends the pages of an order, and takes them out of it.
    pub(super) fn fill(&mut self, order: &mut Order, outgoing: &Outgoing) {
        let Order {
            executable, pages, ..
        } = order;
        let table = self.table(executable);
        let mut loss = table.as_ref().err().copied().flatten();
        pages.retain(|at| {
            let table = table.as_ref().ok();
            let page = table.and_then(|table| at.within(layout_of(table)));
            let table = table
                .zip(page)
                .and_then(|(table, page)| page_of(table, page));
            let what = What::Page {
                at: *at,
                page,
                table,
                loss: loss.take(),
            };
            outgoing.send(executable.id, what);
            false
        });
    }

    fn table(
        &mut self,
        executable: &Arc<Executable>,
    ) -> Result<Arc<UnwindTable>, Option<Degradation>> {
        let place = self.kept.iter().position(|(id, _)| *id == executable.id);
        if let Some(kept) = place.and_then(|place| self.kept.remove(place)) {
            let table = Arc::clone(&kept.1);
            self.kept.push_back(kept);
            return Ok(table);
        }
        let table = if may_hang(executable) {
            let executable = Arc::clone(executable);
            let built = self.attempts.run(PATIENCE, move || built(&executable));
            built.map_err(|unfinished| {
                Some(match unfinished {
                    Unfinished::Panicked => Degradation::ElfMalformed,
                    Unfinished::Late(_) | Unfinished::Full => Degradation::FileUnanswered,
                })
            })??
        } else {
            table_of(executable, self.cache.as_mut())?
        };
        let table = Arc::new(table);
        self.kept.push_back((executable.id, Arc::clone(&table)));
        while self.kept.len() > 1 && self.bytes() > self.most {
            self.kept.pop_front();
        }
        Ok(table)
    }

    fn bytes(&self) -> usize {
        let tables = self.kept.iter();
        tables.map(|(_, table)| 4 * table.words.len()).sum()
    }
}

fn layout_of(table: &UnwindTable) -> Layout {
    Layout {
        start: table.start,
        pages: table.buckets.div_ceil(PAGE_BUCKETS),
    }
}

fn table_of(
    executable: &Executable,
    cache: Option<&mut TableCache>,
) -> Result<UnwindTable, Option<Degradation>> {
    let key = match cache {
        Some(_) => key_of(executable),
        None => None,
    };
    let (Some(cache), Some(key)) = (cache, key) else {
        return built(executable);
    };
    if let Some(table) = cache.get(&key) {
        return Ok(table);
    }
    let table = built(executable)?;
    if let Err(error) = cache.put(&key, &table) {
        tracing::warn!(%error, path = %executable.path.escape_debug(), "an unwind table is not kept on disk");
    }
    Ok(table)
}

/// The file, where it has Go code.
fn go_file(executable: &Executable) -> Option<MappedFile> {
    let file = MappedFile::new(executable.file.as_ref()?).ok()?;
    go::is_go(&file).then_some(file)
}

fn built(executable: &Executable) -> Result<UnwindTable, Option<Degradation>> {
    let file = go_file(executable);
    let lines = file.as_ref().and_then(|file| LineTable::find(file).ok());
    let go = file.as_ref().zip(lines.as_ref());
    let result = match (&executable.image, &executable.file, go) {
        (Some(image), ..) => build(&**image),
        (None, Some(file), Some((mapped, lines))) => {
            let built = build_go(file, lines);
            if mapped.truncated() {
                return Err(Some(Degradation::ElfMalformed));
            }
            built
        }
        (None, Some(file), None) => build(file),
        (None, None, _) => return Err(None),
    };
    result.map(|built| built.table).map_err(|absent: Absent| {
        tracing::debug!(%absent, path = %executable.path.escape_debug(), "no unwind table");
        absent.loss()
    })
}

/// Small tables are built faster than they are read.
const SMALLEST_KEPT: u64 = 256 << 10;

fn key_of(executable: &Executable) -> Option<TableKey> {
    if executable.length < SMALLEST_KEPT || !is_of_root(executable) {
        return None;
    }
    if let Some(build_id) = &executable.build_id {
        return Some(TableKey::build_id(build_id, executable.length));
    }
    let hash: &Option<HtlHash> = executable
        .htl_hash
        .get_or_init(|| elf::htl_hash(executable.file.as_ref()?, executable.length));
    hash.as_ref().map(TableKey::htl_hash)
}

/// May nobody but root write the file? What names it here, a build id and a length, anybody can state of another file, and
/// what is kept outlives both.
fn is_of_root(executable: &Executable) -> bool {
    let file = executable.file.as_ref();
    let metadata = file.and_then(|file| file.metadata().ok());
    metadata.is_some_and(|metadata| metadata.uid() == 0 && metadata.mode() & 0o022 == 0)
}
