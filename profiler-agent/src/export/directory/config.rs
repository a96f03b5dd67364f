//! Which directory, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A directory of profiles, bounded: the oldest files are removed first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory; made where it is missing.
    pub directory: PathBuf,
    /// The files' format.
    pub format: FileFormat,
    /// Most bytes of all files together; the newest file stays even if it alone is larger.
    pub max_bytes: u64,
    /// Files of windows that began longer ago than this are removed.
    pub max_age: Duration,
}

impl Config {
    /// pprof in `directory`, at most 1 GiB and 7 days of it.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            format: FileFormat::default(),
            max_bytes: 1 << 30,
            max_age: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

/// A format that files of windows are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// pprof, compressed: `.pb.gz`.
    #[default]
    Pprof,
    /// One OTLP `ExportProfilesServiceRequest`: `.otlp`.
    Otlp,
}
