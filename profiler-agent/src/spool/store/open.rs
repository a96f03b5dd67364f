//! Opening the file: making it, recognizing it, setting it aside.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use redb::Database;

use super::tables::{self, Listing};
use super::{CACHE_BYTES, SpoolError};

/// A file that was found where the spool's should be and could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

/// Length of the file in bytes.
pub(super) fn file_length(path: &Path) -> Result<u64, SpoolError> {
    let metadata = fs::metadata(path).map_err(|source| failed("look at", path, source))?;
    Ok(metadata.len())
}

/// Opens the file; one that is corrupt or foreign is set aside, and a new one is made.
pub(super) fn open_or_set_aside(
    path: &Path,
    noted: &mut Option<SetAside>,
) -> Result<(Database, Listing), SpoolError> {
    match open(path)? {
        Opened::Usable(database, listing) => Ok((*database, listing)),
        Opened::Unusable(reason) => {
            *noted = Some(set_aside(path, reason)?);
            match open(path)? {
                Opened::Usable(database, listing) => Ok((*database, listing)),
                Opened::Unusable(reason) => Err(failed("make", path, io::Error::other(reason))),
            }
        }
    }
}

enum Opened {
    Usable(Box<Database>, Listing),
    Unusable(String),
}

fn open(path: &Path) -> Result<Opened, SpoolError> {
    // A directory, a link, a FIFO or a device is not ours, and to open it can have effects.
    if let Ok(found) = fs::symlink_metadata(path)
        && !found.is_file()
    {
        let kind = found.file_type();
        return Ok(Opened::Unusable(format!("not a regular file ({kind:?})")));
    }
    let file = open_file(path).map_err(|error| failed("open", path, error))?;
    let is_new = file.metadata().is_ok_and(|found| found.len() == 0);
    let opened = guarded(|| {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_file(file)?;
        let listing = tables::prepare(&database)?;
        Ok((database, listing))
    });
    match opened {
        Ok((database, listing)) => Ok(Opened::Usable(Box::new(database), listing)),
        Err(redb::Error::DatabaseAlreadyOpen) => Err(SpoolError::InUse {
            path: path.to_owned(),
        }),
        // On a full disk, say. Half a file would be taken for a damaged one the next time.
        Err(error) if is_new => {
            let _ = fs::remove_file(path);
            Err(failed("make", path, io::Error::other(error)))
        }
        Err(redb::Error::Io(error)) if !says_corrupt(&error) => Err(failed("open", path, error)),
        Err(redb::Error::PreviousIo) => Err(failed("open", path, io::ErrorKind::Other.into())),
        Err(error) => Ok(Opened::Unusable(error.to_string())),
    }
}

/// Runs `work` over the database. redb states some inconsistencies of a damaged file by panicking; a damaged file
/// must not stop the spool's thread.
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
pub(super) fn set_aside(path: &Path, reason: String) -> Result<SetAside, SpoolError> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".corrupt-");
    let prefix = name.clone();
    name.push(seconds.to_string());
    for entry in path
        .parent()
        .into_iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
    {
        let found = entry.file_name();
        if found
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
        {
            // What cannot be removed stays: the rename decides.
            let _ = fs::remove_file(entry.path());
        }
    }
    let target = path.with_file_name(name);
    fs::rename(path, &target).map_err(|source| failed("set aside", path, source))?;
    Ok(SetAside {
        path: target,
        reason,
    })
}

pub(super) fn failed(operation: &'static str, path: &Path, source: io::Error) -> SpoolError {
    SpoolError::File {
        operation,
        path: path.to_owned(),
        source,
    }
}
