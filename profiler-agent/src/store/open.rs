//! Opening the file: making it, recognizing it, setting it aside.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::Database;

use super::pending::Pending;
use super::writing::{self, Totals};
use super::{Limits, SetAside, StoreError};

/// Makes the directory for root's eyes alone; one that is there keeps its mode.
pub(super) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| failed("make directory", directory, source))
}

/// Length of the file in bytes.
pub(super) fn file_length(path: &Path) -> Result<u64, StoreError> {
    let metadata = fs::metadata(path).map_err(|source| failed("look at", path, source))?;
    Ok(metadata.len())
}

/// Opens the file; one that is corrupt or foreign is renamed and noted, and a new one is made.
pub(super) fn open_or_set_aside(
    path: &Path,
    noted: &mut Option<SetAside>,
) -> Result<(Database, Totals, Pending), StoreError> {
    match open(path)? {
        Opened::Usable(database, totals, pending) => Ok((*database, totals, pending)),
        Opened::Unusable(reason) => {
            *noted = Some(set_aside(path, reason)?);
            match open(path)? {
                Opened::Usable(database, totals, pending) => Ok((*database, totals, pending)),
                Opened::Unusable(reason) => Err(failed("make", path, io::Error::other(reason))),
            }
        }
    }
}

enum Opened {
    Usable(Box<Database>, Totals, Pending),
    Unusable(String),
}

fn open(path: &Path) -> Result<Opened, StoreError> {
    // A directory, a link, a FIFO or a device is not ours, and to open it can have effects.
    if let Ok(found) = fs::symlink_metadata(path)
        && !found.is_file()
    {
        let kind = found.file_type();
        return Ok(Opened::Unusable(format!("not a regular file ({kind:?})")));
    }
    let file = open_file(path).map_err(|error| failed("open", path, error))?;
    let opened = guarded(|| {
        let database = Database::builder()
            .set_cache_size(Limits::CACHE_BYTES)
            .create_file(file)?;
        let (totals, pending) = writing::prepare(&database)?;
        Ok((database, totals, pending))
    });
    match opened {
        Ok((database, totals, pending)) => Ok(Opened::Usable(Box::new(database), totals, pending)),
        Err(redb::Error::DatabaseAlreadyOpen) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(redb::Error::Io(error)) if !says_corrupt(&error) => Err(failed("open", path, error)),
        Err(error) => Ok(Opened::Unusable(error.to_string())),
    }
}

/// Runs `work` over the database. redb states some inconsistencies of a damaged file by panicking;
/// a damaged file must stop neither the agent nor its page.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted(
            "the file is inconsistent".to_owned(),
        ))
    })
}

/// The kinds by which redb says that a file is not its own or cut short.
fn says_corrupt(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    )
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Renames the file to `NAME.corrupt-SECONDS`; earlier ones are removed, so that disk use stays bounded.
pub(super) fn set_aside(path: &Path, reason: String) -> Result<SetAside, StoreError> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".corrupt-");
    let prefix = name.clone();
    name.push(seconds.to_string());
    if let Some(directory) = path.parent() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let found = entry.file_name();
            if found
                .as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes())
            {
                // What cannot be removed stays: the rename decides.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    let target = path.with_file_name(name);
    fs::rename(path, &target).map_err(|source| failed("set aside", path, source))?;
    Ok(SetAside {
        path: target,
        reason,
    })
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}
