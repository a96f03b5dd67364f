//! Headers and where their values come from.

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ClientError, files};

/// Where a header's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// It is this.
    Value(Secret),
    /// The content of this file, without white space around it; read again when the file changes.
    File(PathBuf),
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for those who must have it: never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("..")
    }
}

/// The headers with their values as they are now.
pub(super) fn values(headers: &[(HeaderName, HeaderSource)]) -> Result<HeaderMap, ClientError> {
    let mut map = HeaderMap::new();
    for (name, source) in headers {
        let value = match source {
            HeaderSource::Value(secret) => HeaderValue::from_str(secret.reveal()),
            HeaderSource::File(path) => HeaderValue::from_bytes(files::read(path)?.trim_ascii()),
        };
        let mut value = value.map_err(|_| ClientError::Header {
            name: name.to_string(),
            message: match source {
                HeaderSource::Value(_) => "its value is not visible ASCII text".to_owned(),
                HeaderSource::File(path) => {
                    format!("the content of {} is not one line of text", path.display())
                }
            },
        })?;
        value.set_sensitive(true);
        map.append(name, value);
    }
    Ok(map)
}
