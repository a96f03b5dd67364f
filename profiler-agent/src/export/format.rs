//! The formats that a profile is saved in.

use std::ffi::OsStr;
use std::path::Path;

use super::{collapsed, otlp, pprof, svg};
use crate::profile::Profile;

/// A format to save a profile in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// pprof, compressed: `.pb.gz`.
    Pprof,
    /// One OTLP `ExportProfilesServiceRequest`: `.otlp`.
    Otlp,
    /// Collapsed stacks: `.txt`.
    Collapsed,
    /// A flame graph: `.svg`.
    Svg,
}

/// No format has that name or belongs to that file name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: one of {names}", names = names())]
pub struct UnknownFormat(pub String);

/// A profile that could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Compression or drawing failed.
    #[error("encode the profile: {0}")]
    Write(#[from] std::io::Error),
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Pprof, Self::Otlp, Self::Collapsed, Self::Svg];

    /// Its name, as `--format` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pprof => "pprof",
            Self::Otlp => "otlp",
            Self::Collapsed => "collapsed",
            Self::Svg => "svg",
        }
    }

    /// The endings of its files' names; the first one is the usual.
    #[must_use]
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Pprof => &[".pb.gz", ".pprof", ".prof"],
            Self::Otlp => &[".otlp"],
            Self::Collapsed => &[".txt", ".collapsed", ".folded"],
            Self::Svg => &[".svg"],
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
    /// Those of compression and of drawing.
    pub fn encode(self, profile: &Profile) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Pprof => Ok(pprof::encode(profile)?),
            Self::Otlp => {
                let options = otlp::Options::file(otlp::Host::read());
                Ok(otlp::encode_one(profile, &options).bytes)
            }
            Self::Collapsed => Ok(collapsed::encode(profile, false).into_bytes()),
            Self::Svg => Ok(svg::encode(profile)?),
        }
    }
}

/// Each name with its usual ending.
fn names() -> String {
    let name = |format: Format| format!("{} ({})", format.name(), format.endings()[0]);
    Format::ALL.map(name).join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Format, UnknownFormat};

    #[test]
    fn formats_are_told_by_ending_and_by_name() {
        for (path, format) in [
            ("profile.pb.gz", Format::Pprof),
            ("/tmp/a.b/x.otlp", Format::Otlp),
            ("x.txt", Format::Collapsed),
            ("x.svg", Format::Svg),
        ] {
            assert_eq!(Format::from_path(Path::new(path)), Ok(format));
            assert_eq!(Format::from_name(format.name()), Ok(format));
        }
        let error = Format::from_path(Path::new("x.gz")).unwrap_err();
        assert_eq!(error, UnknownFormat("x.gz".into()));
        assert_eq!(
            error.to_string(),
            "unknown format \"x.gz\": one of pprof (.pb.gz), otlp (.otlp), collapsed (.txt), svg (.svg)"
        );
    }
}
