//! A destination of the configuration, made: its encoder and its client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Kind};
use crate::export::connection::ClientError;
use crate::export::{directory, otlp, pyroscope};
use crate::profile::{Delivery, Destination, Payload, Profile, WindowUuid};
use crate::spool;

/// How long one that ended may go on holding what its successor needs.
const RELEASE: Duration = Duration::from_secs(3);
/// Time between two looks at whether it does.
const RELEASE_INTERVAL: Duration = Duration::from_millis(20);

/// A destination that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Its directory.
    #[error("exporter {name}: {source}")]
    Directory {
        /// The exporter.
        name: String,
        /// What is wrong.
        source: directory::DirectoryError,
    },
    /// Its certificates or headers.
    #[error("exporter {name}: {source}")]
    Client {
        /// The exporter.
        name: String,
        /// What is wrong.
        source: ClientError,
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

/// A profile to payloads.
#[derive(Clone, Debug)]
pub(super) enum Encoder {
    Otlp(Arc<otlp::Options>),
    Pyroscope(Arc<pyroscope::Options>),
    Directory(directory::FileFormat),
}

impl Encoder {
    pub(super) fn encode(&self, profile: &Profile, window: WindowUuid) -> Vec<Payload> {
        match self {
            Self::Otlp(options) => otlp::encode(profile, window, options),
            Self::Pyroscope(options) => pyroscope::encode(profile, window, options),
            Self::Directory(format) => directory::encode(profile, window, *format),
        }
    }
}

/// Any destination.
pub(super) enum Client {
    Otlp(Box<otlp::Client>),
    Pyroscope(Box<pyroscope::Client>),
    Directory(Box<directory::Client>),
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        match self {
            Self::Otlp(client) => client.send(payload).await,
            Self::Pyroscope(client) => client.send(payload).await,
            Self::Directory(client) => client.send(payload).await,
        }
    }
}

/// A destination that is made but does not run yet.
pub(super) struct Prepared {
    pub(super) destination: config::Destination,
    pub(super) encoder: Encoder,
    client: Making,
}

enum Making {
    Made(Client),
    /// It needs what another destination holds until it has ended.
    Later(directory::Config),
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
        let name = &destination.name;
        let wrong = |source| DestinationError::Client {
            name: name.clone(),
            source,
        };
        if let Some(directory) = &destination.directory {
            spool::make_directory(directory).map_err(|source| DestinationError::Spool {
                name: name.clone(),
                directory: directory.display().to_string(),
                source,
            })?;
        }
        let (encoder, client) = match destination.kind.clone() {
            Kind::Otlp(config) => (
                Encoder::Otlp(Arc::new(config.options.clone())),
                Making::Made(Client::Otlp(Box::new(
                    otlp::Client::new(config).map_err(wrong)?,
                ))),
            ),
            Kind::Pyroscope(config) => (
                Encoder::Pyroscope(Arc::new(config.options.clone())),
                Making::Made(Client::Pyroscope(Box::new(
                    pyroscope::Client::new(config).map_err(wrong)?,
                ))),
            ),
            Kind::Directory(config) => (
                Encoder::Directory(config.format),
                if waits {
                    directory::check(&config)
                        .map_err(|source| of_directory(&destination, source))?;
                    Making::Later(config)
                } else {
                    Making::Made(open(&destination, config)?)
                },
            ),
        };
        Ok(Self {
            destination,
            encoder,
            client,
        })
    }

    /// The client; waits a little for what the destination that it follows still holds.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(super) async fn client(
        self,
    ) -> Result<(config::Destination, Encoder, Client), DestinationError> {
        let client = match self.client {
            Making::Made(client) => client,
            Making::Later(config) => {
                let mut waited = Duration::ZERO;
                loop {
                    match open(&self.destination, config.clone()) {
                        Err(DestinationError::Directory { source, .. })
                            if source.is_held() && waited < RELEASE =>
                        {
                            tokio::time::sleep(RELEASE_INTERVAL).await;
                            waited += RELEASE_INTERVAL;
                        }
                        result => break result?,
                    }
                }
            }
        };
        Ok((self.destination, self.encoder, client))
    }
}

fn open(
    destination: &config::Destination,
    config: directory::Config,
) -> Result<Client, DestinationError> {
    directory::Client::new(config)
        .map(|client| Client::Directory(Box::new(client)))
        .map_err(|source| of_directory(destination, source))
}

fn of_directory(
    destination: &config::Destination,
    source: directory::DirectoryError,
) -> DestinationError {
    DestinationError::Directory {
        name: destination.name.clone(),
        source,
    }
}
