//! A destination of the configuration, made.

use std::io;
use std::time::Duration;

use crate::bounded_file;
use crate::config;
use crate::export::{Client, TargetError};

/// How long one that ended may go on holding what its successor needs.
const RELEASE: Duration = Duration::from_secs(3);
/// Time between two looks at whether it does.
const RELEASE_INTERVAL: Duration = Duration::from_millis(20);

/// A destination that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Its certificates, its headers or its directory.
    #[error("exporter {name}: {source}")]
    Target {
        /// The exporter.
        name: String,
        /// What is wrong.
        source: TargetError,
    },
    /// Its spool.
    #[error(
        "exporter {name}: its spool in {directory}: {source}. `spool.directory` chooses another place."
    )]
    Spool {
        /// The exporter.
        name: String,
        /// The spool's directory.
        directory: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A destination that is made but does not run yet.
pub(super) struct Prepared {
    pub(super) destination: config::Destination,
    /// None where it needs what another destination holds until it has ended.
    client: Option<Client>,
}

impl Prepared {
    /// Makes everything of a destination that can be made while the others run; where it `waits` for one of them to
    /// end, what it needs of that one is made by [`Self::client`].
    ///
    /// # Errors
    /// The destination would not start.
    pub(super) fn new(
        destination: config::Destination,
        waits: bool,
    ) -> Result<Self, DestinationError> {
        if let Some(directory) = &destination.directory {
            bounded_file::make_directory(directory).map_err(|source| DestinationError::Spool {
                name: destination.name.clone(),
                directory: directory.display().to_string(),
                source,
            })?;
        }
        let target = &destination.target;
        let client = if waits && target.is_exclusive() {
            target.check().map(|()| None)
        } else {
            target.client().map(Some)
        };
        let client = client.map_err(|source| of_target(&destination, source))?;
        Ok(Self {
            destination,
            client,
        })
    }

    /// The client; waits a little for what the destination that it follows still holds.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(super) async fn client(self) -> Result<(config::Destination, Client), DestinationError> {
        let Self {
            destination,
            client,
        } = self;
        if let Some(client) = client {
            return Ok((destination, client));
        }
        let mut waited = Duration::ZERO;
        loop {
            match destination.target.client() {
                Ok(client) => return Ok((destination, client)),
                Err(error) if error.is_held && waited < RELEASE => {
                    tokio::time::sleep(RELEASE_INTERVAL).await;
                    waited += RELEASE_INTERVAL;
                }
                Err(error) => return Err(of_target(&destination, error)),
            }
        }
    }
}

fn of_target(destination: &config::Destination, source: TargetError) -> DestinationError {
    DestinationError::Target {
        name: destination.name.clone(),
        source,
    }
}
