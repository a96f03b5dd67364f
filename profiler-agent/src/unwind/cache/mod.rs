//! Tables on disk, so that a restart or another process of the same file costs a read.
//!
//! One directory (mode 0700), one file a table in the format of `format`, named by
//! [`TableKey`]. A file appears by rename, so that a reader sees all of it or nothing. The directory
//! holds at most a number of bytes; beyond that the least recently used files go. Use is the
//! file's time of modification, so that it survives a restart. A file that is not exactly what was
//! written is a miss, counted and removed.

mod format;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::profile::{BuildId, HtlHash, UnwindTable};

/// Files that are looked at when a cache is opened; more than a byte budget of sense allows.
const MAX_FILES: usize = 1 << 16;
const SUFFIX: &str = ".unwind";
const TEMPORARY_PREFIX: &str = ".new-";

/// What a table is kept under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableKey(String);

impl TableKey {
    /// By build id and length: a build id is claimed by whoever links a file, and a careless copy of
    /// one should not pass for the other.
    #[must_use]
    pub fn build_id(build_id: &BuildId, file_length: u64) -> Self {
        Self(format!("{build_id}-{file_length:x}"))
    }
    /// By content hash, for files without a build id.
    #[must_use]
    pub fn htl_hash(hash: &HtlHash) -> Self {
        Self(format!("{hash}-htl"))
    }
    fn file_name(&self) -> String {
        format!("{}{SUFFIX}", self.0)
    }
}

/// The cache cannot be used, or a table could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory is not there and cannot be made, or cannot be read.
    #[error("unwind table cache {path}: {source}", path = path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is no directory of this user: what is in it cannot be trusted.
    #[error("unwind table cache {path} is not a directory of this user", path = path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// A table could not be written.
    #[error("write unwind table {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What happened since the cache was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Tables that were there.
    pub hits: u64,
    /// Tables that were not there, or not usable.
    pub misses: u64,
    /// Files that were not what was written, and were removed.
    pub corrupt: u64,
    /// Tables written.
    pub written: u64,
    /// Tables removed because of the byte budget.
    pub evicted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    bytes: u64,
    /// Order of use.
    used: u64,
}

/// A directory of tables.
#[derive(Debug)]
pub struct TableCache {
    directory: PathBuf,
    max_bytes: u64,
    bytes: u64,
    files: HashMap<String, Kept>,
    /// The last order of use that was given out.
    clock: u64,
    statistics: CacheStatistics,
}

impl TableCache {
    /// Opens the cache in `directory`, makes it if need be, and removes what is beyond `max_bytes`
    /// and what an interrupted write left.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or is not this user's.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Directory {
            path: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        let metadata = fs::symlink_metadata(directory).map_err(failed)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError::Foreign {
                path: directory.to_owned(),
            });
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;

        let mut cache = Self {
            directory: directory.to_owned(),
            max_bytes,
            bytes: 0,
            files: HashMap::new(),
            clock: 0,
            statistics: CacheStatistics::default(),
        };
        cache.scan().map_err(failed)?;
        cache.evict();
        Ok(cache)
    }

    fn scan(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)?.take(MAX_FILES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with(TEMPORARY_PREFIX) {
                let _ = fs::remove_file(entry.path());
            } else if name.ends_with(SUFFIX)
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                let used = (metadata.mtime(), metadata.mtime_nsec());
                found.push((used, name, metadata.len()));
            }
        }
        found.sort();
        for (_, name, bytes) in found {
            self.keep(name, bytes);
        }
        Ok(())
    }

    fn keep(&mut self, name: String, bytes: u64) {
        self.clock += 1;
        let used = self.clock;
        self.bytes += bytes;
        if let Some(old) = self.files.insert(name, Kept { bytes, used }) {
            self.bytes -= old.bytes;
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(old) = self.files.remove(name) {
            self.bytes -= old.bytes;
        }
        let _ = fs::remove_file(self.directory.join(name));
    }

    /// The table kept under `key`.
    pub fn get(&mut self, key: &TableKey) -> Option<UnwindTable> {
        let name = key.file_name();
        let table = self.read(&name);
        if table.is_some() {
            self.statistics.hits += 1;
        } else {
            self.statistics.misses += 1;
        }
        table
    }

    fn read(&mut self, name: &str) -> Option<UnwindTable> {
        let bytes = self.files.get(name)?.bytes;
        let table = File::open(self.directory.join(name)).ok().and_then(|file| {
            let length = file.metadata().ok()?.len();
            let table = format::decode(&mut BufReader::new(&file), length)?;
            let now = FileTimes::new().set_modified(SystemTime::now());
            // Its order of use is lost on a restart if this fails: no harm.
            let _ = file.set_times(now);
            Some(table)
        });
        if table.is_some() {
            self.keep(name.to_owned(), bytes);
        } else {
            self.statistics.corrupt += 1;
            self.forget(name);
        }
        table
    }

    /// Keeps `table` under `key`; not when it alone is beyond the byte budget.
    ///
    /// # Errors
    /// When the file cannot be written; what was kept under `key` before is still there.
    pub fn put(&mut self, key: &TableKey, table: &UnwindTable) -> Result<(), CacheError> {
        let bytes = format::encoded_length(table);
        if bytes > self.max_bytes {
            return Ok(());
        }
        let name = key.file_name();
        let temporary = self.directory.join(format!("{TEMPORARY_PREFIX}{name}"));
        let write = || {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            let mut writer = BufWriter::new(file);
            format::encode(table, &mut writer)?;
            writer.flush()?;
            fs::rename(&temporary, self.directory.join(&name))
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            CacheError::Write {
                path: self.directory.join(&name),
                source,
            }
        })?;
        self.statistics.written += 1;
        self.keep(name, bytes);
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        while self.bytes > self.max_bytes {
            let oldest = self.files.iter().min_by_key(|(_, kept)| kept.used);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            self.forget(&name);
            self.statistics.evicted += 1;
        }
    }

    /// Bytes of the files that are kept.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What happened since it was opened.
    #[must_use]
    pub const fn statistics(&self) -> CacheStatistics {
        self.statistics
    }
}

#[cfg(test)]
mod tests;
