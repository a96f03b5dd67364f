//! Opening a file: making it, recognizing it, setting it aside.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::Database;

use super::{FileError, SetAside};

/// An open database.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// Always there; taken to be dropped under guard.
    database: Option<Database>,
}

impl Deref for OpenFile {
    type Target = Database;

    fn deref(&self) -> &Database {
        let database = self.database.as_ref();
        database.expect("taken only when it is dropped")
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let database = self.database.take();
        // Closing writes; over a damaged file that may panic like any other work.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// Makes a directory that its owner alone may look into; one that is there keeps its mode.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Length of the file in bytes.
pub(crate) fn file_length(path: &Path) -> Result<u64, FileError> {
    let metadata = fs::metadata(path).map_err(|source| FileError::file("look at", path, source))?;
    Ok(metadata.len())
}

/// Removes the file, which nobody has open.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    fs::remove_file(path).map_err(|source| FileError::file("remove", path, source))
}

/// Opens the file and reads of it what `prepare` reads; at most `cache_bytes` of its pages are kept in memory. One that is
/// corrupt or foreign is set aside and noted, also where a new one cannot be made then.
pub(crate) fn open<T>(
    path: &Path,
    cache_bytes: usize,
    prepare: impl Fn(&Database) -> Result<T, redb::Error>,
    noted: &mut Option<SetAside>,
) -> Result<(OpenFile, T), FileError> {
    let open = || open_as_it_is(path, cache_bytes, &prepare);
    let opened = match open()? {
        Opened::Unusable(reason) => {
            *noted = Some(set_aside(path, reason)?);
            open()?
        }
        usable => usable,
    };
    match opened {
        Opened::Usable(opened) => Ok(*opened),
        Opened::Unusable(reason) => Err(FileError::file("make", path, io::Error::other(reason))),
    }
}

enum Opened<T> {
    Usable(Box<(OpenFile, T)>),
    Unusable(String),
}

fn open_as_it_is<T>(
    path: &Path,
    cache_bytes: usize,
    prepare: &impl Fn(&Database) -> Result<T, redb::Error>,
) -> Result<Opened<T>, FileError> {
    // A directory, a link, a FIFO or a device is not ours, and to open it can have effects.
    if let Ok(found) = fs::symlink_metadata(path)
        && !found.is_file()
    {
        let kind = found.file_type();
        return Ok(Opened::Unusable(format!("not a regular file ({kind:?})")));
    }
    let file = open_file(path).map_err(|error| FileError::file("open", path, error))?;
    let is_new = file.metadata().is_ok_and(|found| found.len() == 0);
    let opened = guarded(|| {
        let database = Database::builder()
            .set_cache_size(cache_bytes)
            .create_file(file)?;
        let prepared = prepare(&database)?;
        let database = Some(database);
        Ok((OpenFile { database }, prepared))
    });
    match opened {
        Ok(opened) => Ok(Opened::Usable(Box::new(opened))),
        Err(redb::Error::DatabaseAlreadyOpen) => Err(FileError::InUse {
            path: path.to_owned(),
        }),
        // On a full disk, say. Half a file would be taken for a damaged one the next time.
        Err(error) if is_new => {
            let _ = fs::remove_file(path);
            Err(FileError::file("make", path, made(error)))
        }
        Err(redb::Error::Io(error)) if !says_corrupt(&error) => {
            Err(FileError::file("open", path, error))
        }
        Err(redb::Error::PreviousIo) => {
            Err(FileError::file("open", path, io::ErrorKind::Other.into()))
        }
        Err(error) => Ok(Opened::Unusable(error.to_string())),
    }
}

/// The system's own error, where it is one.
fn made(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// Runs `work` over a database. redb states some inconsistencies of a damaged file by panicking: a damaged file must stop
/// nobody.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
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
pub(crate) fn set_aside(path: &Path, reason: String) -> Result<SetAside, FileError> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".corrupt-");
    let prefix = name.clone();
    name.push(seconds.to_string());
    let directory = path.parent().into_iter().flat_map(fs::read_dir);
    for entry in directory.flatten().flatten() {
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
    fs::rename(path, &target).map_err(|source| FileError::file("set aside", path, source))?;
    Ok(SetAside {
        path: target,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a database that its owner could not finish making.
    #[test]
    fn a_new_file_that_cannot_be_finished_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.redb");
        let full = || redb::Error::Io(io::ErrorKind::StorageFull.into());
        let mut noted = None;
        let refused = open(&path, 1 << 20, |_| Err::<(), _>(full()), &mut noted);
        let Err(FileError::File {
            operation, source, ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!(
            (operation, source.kind()),
            ("make", io::ErrorKind::StorageFull)
        );
        assert!(!path.exists() && noted.is_none());
        open(&path, 1 << 20, |_| Ok(()), &mut noted).unwrap();
        assert!(path.exists() && noted.is_none());
        // The same with a file that is there is no damage: it stays as it is.
        let refused = open(&path, 1 << 20, |_| Err::<(), _>(full()), &mut noted);
        assert!(refused.is_err() && path.exists() && noted.is_none());
    }

    #[test]
    fn one_damaged_file_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.redb");
        for round in ["first", "second"] {
            fs::write(&path, round.repeat(1000)).unwrap();
            let mut noted = None;
            drop(open(&path, 1 << 20, |_| Ok(()), &mut noted).unwrap());
            let aside = noted.expect("it is no database");
            assert_eq!(
                fs::read(&aside.path).unwrap(),
                round.repeat(1000).as_bytes()
            );
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        }
    }
}
