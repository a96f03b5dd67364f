//! Why a file cannot be used, and what became of a damaged one.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it open.
    #[error(
        "{path} is in use by another process: stop the other agent or give this one another directory"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It, or its directory, cannot be made, opened or renamed.
    #[error("cannot {operation} {path}: {source}{}", fix(source))]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed. The file is to be opened anew.
    #[error("cannot use {path}: {source}{}", database_fix(source))]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: Box<redb::Error>,
    },
}

/// What helps, where that is known.
fn fix(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run the agent as root or give it a directory that it may write to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space or give the agent a directory on another disk"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; give the agent a directory that can be written to",
        _ => "",
    }
}

/// The same of what the database says.
fn database_fix(error: &redb::Error) -> &'static str {
    const DISK: &str = "; look for errors of the disk in the kernel's log (dmesg)";
    match error {
        redb::Error::Io(error) => match fix(error) {
            "" => DISK,
            known => known,
        },
        redb::Error::PreviousIo | redb::Error::Corrupted(_) => DISK,
        _ => "; if it happens again, stop the agent and remove the file",
    }
}

impl FileError {
    pub(crate) fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn database(path: &Path, source: redb::Error) -> Self {
        Self::Database {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }

    /// Does another process have the file open?
    #[must_use]
    pub const fn is_held(&self) -> bool {
        matches!(self, Self::InUse { .. })
    }

    /// What is wrong with the file, if this says that it is damaged.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        match self {
            Self::Database { source, .. } if matches!(**source, redb::Error::Corrupted(_)) => {
                Some(source.to_string())
            }
            _ => None,
        }
    }
}

/// A file that could not be used and was renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

impl SetAside {
    /// Logs that what the file held is lost: the spool's of `destination`, else the local store's.
    pub(crate) fn warn(&self, destination: Option<&str>) {
        let (path, reason) = (self.path.display(), &self.reason);
        let destination = destination.map(tracing::field::display);
        tracing::warn!(destination, %path, reason, "a damaged file was set aside: what it held is lost");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_file_that_is_set_aside_is_logged_with_its_destination() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let file = Arc::new(File::create(&log).unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(file).finish();
        let aside = SetAside {
            path: "/x/a.redb.corrupt-1".into(),
            reason: "no header".to_owned(),
        };
        tracing::subscriber::with_default(subscriber, || {
            aside.warn(Some("backend"));
            aside.warn(None);
        });
        let log = fs::read_to_string(log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let fields = "path=/x/a.redb.corrupt-1 reason=\"no header\"";
        assert_eq!(lines.len(), 2, "{log}");
        assert!(
            lines[0].contains(&format!(" destination=backend {fields}")),
            "{log}"
        );
        assert!(
            lines[1].contains(fields) && !lines[1].contains("destination"),
            "{log}"
        );
    }

    #[test]
    fn an_error_names_the_file_and_the_fix() {
        let error = |kind: io::ErrorKind| {
            FileError::file("open", Path::new("/x/a.redb"), kind.into()).to_string()
        };
        assert_eq!(
            error(io::ErrorKind::PermissionDenied),
            "cannot open /x/a.redb: permission denied; run the agent as root or give it a directory that it may write to"
        );
        assert!(error(io::ErrorKind::StorageFull).contains("; free space"));
        assert_eq!(
            error(io::ErrorKind::TimedOut),
            "cannot open /x/a.redb: timed out"
        );
    }

    #[test]
    fn an_error_of_the_database_names_the_file_and_the_fix() {
        let error = |source| FileError::database(Path::new("/x/a.redb"), source);
        let of_kind = |kind: io::ErrorKind| error(redb::Error::Io(kind.into())).to_string();
        assert_eq!(
            of_kind(io::ErrorKind::StorageFull),
            "cannot use /x/a.redb: I/O error: no storage space; free space or give the agent a directory on another disk"
        );
        assert!(of_kind(io::ErrorKind::TimedOut).ends_with("in the kernel's log (dmesg)"));
        assert!(of_kind(io::ErrorKind::PermissionDenied).contains("; run the agent as root"));
        assert!(error(redb::Error::PreviousIo).to_string().contains("dmesg"));
        let other = error(redb::Error::TransactionPoisoned);
        assert!(
            other
                .to_string()
                .ends_with("stop the agent and remove the file")
        );
        assert_eq!(other.damage(), None);
        let damaged = error(redb::Error::Corrupted("no root".to_owned()));
        assert!(
            damaged
                .to_string()
                .contains("no root; look for errors of the disk")
        );
        // Why the file is set aside is no advice.
        let damage = damaged.damage().unwrap();
        assert!(damage.ends_with("no root"), "{damage}");
    }
}
