//! Connections to receivers: what a user says of one, and the one way to make it.

mod header;

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Uri};

pub use header::{HeaderSource, Secret};

/// How to reach a receiver.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Scheme (`http`: plain text, `https`: TLS), host, port and, where the protocol has one, path.
    pub endpoint: Uri,
    /// Sent with every request, in this order; several of one name are sent several times.
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
///
/// TLS is 1.3 always: 1.2 is not offered, because it has no key exchange that withstands a quantum computer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the receiver's must be signed by; else the system's.
    pub ca: Option<PathBuf>,
    /// The certificate (with its chain) and the key that this agent shows: mutual TLS.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the receiver's certificate must be of; else the endpoint's host.
    pub server_name: Option<String>,
}
