//! Connections to receivers: what a user says of one, and the one way to make it.
//!
//! Every destination of the network posts through [`Transport`]: HTTP/1.1, or HTTP/2 where TLS or the protocol
//! asks for it. A post has one time limit over everything, an answer has a bounded length, and nothing that a
//! receiver says can do more than fail the attempt.
//!
//! TLS is 1.3 by rustls over aws-lc; the hybrid X25519MLKEM768 is the key exchange that is offered first, so
//! that what is recorded today stays closed to a quantum computer of tomorrow. 1.2 has no such exchange and
//! is not offered.

mod body;
pub mod check;
mod connector;
mod error;
mod files;
mod header;
mod resolver;
mod retry_after;
mod stream;
mod tls;
mod transport;

#[cfg(test)]
pub(super) mod authority;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};

pub(super) use body::Body;
pub use connector::Connector;
pub use error::ClientError;
pub use header::{HeaderSource, Secret};
pub(super) use retry_after::retry_after;
pub use transport::connector;
pub(super) use transport::{Answer, Failure, Http, Transport};

/// How to reach a receiver.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Scheme (`http`: plain text, `https`: TLS), host, port and, where the protocol has one, path.
    pub endpoint: Uri,
    /// Sent with every request, in this order; several of one name are sent several times. Those that the
    /// protocol itself sets (`content-type`, ..) are the protocol's.
    pub headers: Vec<(HeaderName, HeaderSource)>,
    /// Longest time for one attempt, from the connection's first packet to the answer's last.
    pub timeout: Duration,
    /// Files of TLS; used with `https` only.
    pub tls: TlsFiles,
}

impl Connection {
    /// To `endpoint`, without headers, within 10 s (the specification's default).
    #[must_use]
    pub fn new(endpoint: Uri) -> Self {
        Self {
            endpoint,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            tls: TlsFiles::default(),
        }
    }
}

/// Files of TLS, in PEM. Read again when they change, for connections made from then on; one that cannot be
/// read or makes no sense then is passed over, and what was read before stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the receiver's must be signed by; else the system's.
    pub ca: Option<PathBuf>,
    /// The certificate (with its chain) and the key that this agent shows: mutual TLS.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the receiver's certificate must be of; else the endpoint's host.
    pub server_name: Option<String>,
}
