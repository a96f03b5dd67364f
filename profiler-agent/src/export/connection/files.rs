//! Files that are read again when they change.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::ClientError;
use crate::confine;

/// Longest file that is read: a bundle of all authorities of the world is 250 KB.
const MAX_BYTES: u64 = 4 << 20;

/// What tells one content of a file from another. `None` where it is not there.
type Stamp = Option<[i64; 6]>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some([
        metadata.dev().cast_signed(),
        metadata.ino().cast_signed(),
        metadata.size().cast_signed(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        // A file that is written twice within a tick of mtime.
        metadata.ctime() ^ metadata.ctime_nsec().rotate_left(32),
    ])
}

/// Files as they were when they were read last.
#[derive(Debug)]
pub(super) struct Watched {
    files: Vec<(PathBuf, Stamp)>,
}

impl Watched {
    /// The files as they are now: to be called before they are read.
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let with_stamp = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Self {
            files: paths.into_iter().map(with_stamp).collect(),
        }
    }

    /// Did one of them change since this was asked last?
    pub(super) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.files {
            let now = stamp(path);
            changed |= now != *known;
            *known = now;
        }
        changed
    }
}

/// The content of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    confine::read_configured(path, MAX_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => ClientError::Content {
            path: path.to_owned(),
            message: format!("longer than {MAX_BYTES} bytes"),
        },
        _ => ClientError::File {
            path: path.to_owned(),
            error,
        },
    })
}
