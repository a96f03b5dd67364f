//! What the user writes of a directory of files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{Config, FileFormat};
use super::send::{self, Client, DirectoryError};
use crate::export::exporter::{self, Target, TargetError};
use crate::export::settings::{Checks, Retry, SendingQueue};
use crate::profile::quantity::{Bytes, Span};
use crate::profile::{Payload, Profile, WindowUuid};

/// A directory of files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The directory; made where it is missing.
    pub directory: PathBuf,
    /// `pprof` or `otlp`.
    pub format: FileFormat,
    /// Bytes of all files together.
    pub max_size: Bytes,
    /// Age of the oldest file.
    pub max_age: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            format: FileFormat::Pprof,
            max_size: Bytes(1 << 30),
            max_age: Span(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

impl exporter::Settings for Settings {
    fn check(&self, checks: &mut Checks) {
        checks.unless(
            self.directory.is_absolute(),
            "directory",
            "an absolute path is needed",
        );
        checks.unless(self.max_size.0 >= 1 << 20, "max_size", "at least 1MiB");
        let window = checks.window;
        checks.unless(self.max_age.0 >= window, "max_age", "at least one window");
    }

    fn queue(&self) -> (Retry, SendingQueue) {
        let queue = SendingQueue {
            num_consumers: 1,
            ..SendingQueue::default()
        };
        (Retry::default(), queue)
    }

    fn target(&self) -> Option<Arc<dyn Target>> {
        Some(Arc::new(Config {
            format: self.format,
            max_bytes: self.max_size.0,
            max_age: self.max_age.0,
            ..Config::new(self.directory.clone())
        }))
    }
}

impl Target for Config {
    fn encode(&self, profile: &Profile, window: WindowUuid) -> Vec<Payload> {
        send::encode(profile, window, self.format)
    }

    fn client(&self) -> Result<exporter::Client, TargetError> {
        let client = Client::new(self.clone())?;
        Ok(exporter::Client::new(client))
    }

    /// A directory is one writer's at a time, under whatever path each names it.
    fn is_exclusive(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), TargetError> {
        Ok(send::check(self)?)
    }
}

impl From<DirectoryError> for TargetError {
    fn from(error: DirectoryError) -> Self {
        Self {
            is_held: error.is_held(),
            source: Box::new(error),
        }
    }
}
