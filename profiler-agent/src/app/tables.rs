//! The thread that builds unwind tables: off the way of samples.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::runtimes::FileFacts;
use super::wake::Wake;
use crate::go::{self, LineTable};
use crate::profile::{Executable, ExecutableId, HtlHash, LossCause, UnwindTable};
use crate::symbolize::MappedFile;
use crate::unwind::{Absent, TableCache, TableKey, build, build_go};

/// How long the thread is waited for when it is to end.
const STOPPING: Duration = Duration::from_secs(1);

/// A table, or why there is none.
pub struct BuiltTable {
    /// Whose.
    pub executable: ExecutableId,
    /// The table.
    pub table: Result<UnwindTable, Option<LossCause>>,
    /// What else the file says.
    pub facts: FileFacts,
}

/// Where tables are kept between runs.
#[derive(Clone, Debug)]
pub struct CachePlace {
    /// A directory of this user's.
    pub directory: PathBuf,
    /// Bytes that it may hold.
    pub max_bytes: u64,
}

/// Asks for tables and takes them.
pub struct TableBuilder {
    requests: Option<Sender<Arc<Executable>>>,
    results: Receiver<BuiltTable>,
    thread: Option<JoinHandle<()>>,
    outstanding: usize,
}

impl TableBuilder {
    /// Starts the thread. `wake` is woken when a table is there.
    pub(super) fn spawn(cache: Option<CachePlace>, wake: Wake) -> io::Result<Self> {
        let (requests, incoming) = channel::<Arc<Executable>>();
        let (outgoing, results) = channel();
        let thread = Builder::new().name("tables".to_owned()).spawn(move || {
            let mut cache = cache.and_then(|place| {
                TableCache::open(&place.directory, place.max_bytes)
                    .inspect_err(
                        |error| tracing::warn!(%error, "unwind tables are not kept on disk"),
                    )
                    .ok()
            });
            for executable in incoming {
                let file = go_file(&executable);
                let lines = file.as_ref().and_then(|file| LineTable::find(file).ok());
                let go = file.as_ref().zip(lines.as_ref());
                let built = BuiltTable {
                    executable: executable.id,
                    table: table_of(&executable, go, cache.as_mut()),
                    facts: FileFacts::read(&executable, go),
                };
                if outgoing.send(built).is_err() {
                    return;
                }
                wake.wake();
            }
        })?;
        Ok(Self {
            requests: Some(requests),
            results,
            thread: Some(thread),
            outstanding: 0,
        })
    }

    /// Asks for a file's table.
    pub fn request(&mut self, executable: Arc<Executable>) {
        if let Some(requests) = &self.requests
            && requests.send(executable).is_ok()
        {
            self.outstanding += 1;
        }
    }

    /// A table that is there.
    pub fn take(&mut self) -> Option<BuiltTable> {
        let built = self.results.try_recv().ok()?;
        self.outstanding -= 1;
        Some(built)
    }

    /// Tables that were asked for and are not there.
    #[must_use]
    pub const fn outstanding(&self) -> usize {
        self.outstanding
    }
}

impl Drop for TableBuilder {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It reads files of others, whose file system may hang. A panic was reported when it happened.
            let waited = Instant::now();
            while !thread.is_finished() && waited.elapsed() < STOPPING {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn table_of(
    executable: &Executable,
    go: Option<(&MappedFile, &LineTable<'_>)>,
    cache: Option<&mut TableCache>,
) -> Result<UnwindTable, Option<LossCause>> {
    let key = match cache {
        Some(_) => key_of(executable),
        None => None,
    };
    let (Some(cache), Some(key)) = (cache, key) else {
        return built(executable, go);
    };
    if let Some(table) = cache.get(&key) {
        return Ok(table);
    }
    let table = built(executable, go)?;
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

fn built(
    executable: &Executable,
    go: Option<(&MappedFile, &LineTable<'_>)>,
) -> Result<UnwindTable, Option<LossCause>> {
    let result = match (&executable.image, &executable.file, go) {
        (Some(image), ..) => build(&**image),
        (None, Some(file), Some((mapped, lines))) => {
            let built = build_go(file, lines);
            if mapped.truncated() {
                return Err(None);
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
    if executable.length < SMALLEST_KEPT {
        return None;
    }
    if let Some(build_id) = &executable.build_id {
        return Some(TableKey::build_id(build_id, executable.length));
    }
    let hash: &Option<HtlHash> = executable.htl_hash.get_or_init(|| {
        crate::process::elf::htl_hash(executable.file.as_ref()?, executable.length)
    });
    hash.as_ref().map(TableKey::htl_hash)
}
