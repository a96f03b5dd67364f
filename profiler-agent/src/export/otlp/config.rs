//! Where to export to, and how.

use http::Uri;

use super::options::Options;
use crate::export::connection::Connection;

/// A receiver of OTLP profiles.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach it.
    pub connection: Connection,
    /// What it speaks.
    pub protocol: Protocol,
    /// [`Protocol::Http`]: is the endpoint that of profiles as it stands? Else it is that of all signals, and
    /// `/v1development/profiles` follows its path.
    pub whole_endpoint: bool,
    /// What requests look like, and how they are compressed.
    pub options: Options,
}

impl Config {
    /// The receiver at `endpoint`, of all signals, over gRPC.
    #[must_use]
    pub fn new(endpoint: Uri) -> Self {
        Self {
            connection: Connection::new(endpoint),
            protocol: Protocol::default(),
            whole_endpoint: false,
            options: Options::default(),
        }
    }
}

/// What requests are carried by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, over HTTP/2.
    #[default]
    Grpc,
    /// HTTP with protobuf bodies: 1.1, and 2 where TLS agrees on it.
    Http,
}
