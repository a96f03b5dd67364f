//! The formats that a profile is saved in.

use std::ffi::OsStr;
use std::path::Path;

use super::pprof;
use crate::profile::Profile;

/// A format to save a profile in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// pprof, compressed: `.pb.gz`, `.pprof`.
    Pprof,
}

/// No format has that name or belongs to that file name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: one of {names}", names = names())]
pub struct UnknownFormat(pub String);

/// A profile that could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Compression failed.
    #[error("compress the profile: {0}")]
    Compress(#[from] std::io::Error),
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 1] = [Self::Pprof];

    /// Its name, as `--format` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pprof => "pprof",
        }
    }

    /// The endings of its files' names; the first one is the usual.
    #[must_use]
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Pprof => &[".pb.gz", ".pprof", ".prof"],
        }
    }

    /// The format with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn from_name(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }

    /// The format of files with this name.
    ///
    /// # Errors
    /// Its ending belongs to none.
    pub fn from_path(path: &Path) -> Result<Self, UnknownFormat> {
        let name = path.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
        Self::ALL
            .into_iter()
            .find(|format| format.endings().iter().any(|ending| name.ends_with(ending)))
            .ok_or_else(|| UnknownFormat(name.into_owned()))
    }

    /// The profile in this format.
    ///
    /// # Errors
    /// Those of compression.
    pub fn encode(self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Pprof => Ok(pprof::encode(profile)?),
        }
    }
}

fn names() -> String {
    Format::ALL.map(Format::name).join(", ")
}
