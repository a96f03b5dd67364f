//! Why the agent cannot start or go on.

use std::io;

use crate::app::collector::CollectorError;
use crate::app::destinations::DestinationError;
use crate::app::own_signals::OwnSignalsError;
use crate::app::page_token::TokenError;
use crate::app::page_users::UserError;
use crate::app::restart::Failure;
use crate::export::otlp;
use crate::store::StoreError;

/// Why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The collector.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The environment's export settings.
    #[error(transparent)]
    Export(#[from] otlp::ConfigError),
    /// An exporter.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The page's token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The page's users.
    #[error(transparent)]
    Users(#[from] UserError),
    /// The page's address.
    #[error(
        "the page cannot be served on {address}: {source}. Is another agent running? `page.endpoint` chooses another address."
    )]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address of the agent's own metrics and probes.
    #[error("{address} of `telemetry.endpoint` cannot be listened on: {source}")]
    ListenTelemetry {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent's own signals.
    #[error(transparent)]
    OwnSignals(#[from] OwnSignalsError),
    /// A thread, a signal handler or the runtime.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AgentError {
    /// Is it worth to try again?
    pub(in crate::app) fn failure(&self) -> Failure {
        let errno = match self {
            Self::Store(StoreError::File(error)) if error.is_held() => return Failure::Held,
            Self::Destination(DestinationError::Target { source, .. }) if source.is_held => {
                return Failure::Held;
            }
            Self::Listen { source, .. } | Self::ListenTelemetry { source, .. }
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                return Failure::Held;
            }
            Self::Collector(error) if error.was_interrupted() => return Failure::Passing,
            Self::System { source, .. } => source.raw_os_error(),
            _ => None,
        };
        match errno {
            Some(libc::EAGAIN | libc::EINTR) => Failure::Passing,
            _ => Failure::Lasting,
        }
    }
}
