//! What destinations have in common, as the user writes it: names as the OpenTelemetry collector has them.
//!
//! Each kind of destination has settings of its own (`export/*/settings.rs`), made of these.

mod check;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderName, HeaderValue, Uri};
use serde::{Deserialize, Serialize};

use super::connection::{Connection, HeaderSource, Secret, TlsFiles};
use crate::profile::endpoint::has_usable_port;
use crate::profile::quantity::{Bytes, Span};
pub use check::{Checks, Wrong};
pub use text::{Header, Password};

/// Encryption and certificates. Files are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// `otlp_grpc` with an endpoint without scheme: no TLS.
    pub insecure: bool,
    /// Certificates (PEM) that the receiver's must be signed by; the system's when empty.
    pub ca_file: PathBuf,
    /// The certificate (PEM) that this agent shows.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// The name that the receiver's certificate must be of; the endpoint's host when empty.
    pub server_name_override: String,
}

/// When a failed attempt is repeated: for as long as the payload is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// First interval.
    pub initial_interval: Span,
    /// Longest interval.
    pub max_interval: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial_interval: Span(Duration::from_secs(5)),
            max_interval: Span(Duration::from_secs(30)),
        }
    }
}

/// What waits in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SendingQueue {
    /// Requests at a time: 1 to 16.
    pub num_consumers: usize,
    /// Bytes in memory.
    pub queue_size: Bytes,
}

impl Default for SendingQueue {
    fn default() -> Self {
        Self {
            num_consumers: 2,
            queue_size: Bytes(16 << 20),
        }
    }
}

/// A user and a password for HTTP's basic authentication: both, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Option<Password>,
}

impl BasicAuth {
    /// The header `authorization`; none without a password.
    #[must_use]
    pub fn header(&self) -> Option<(HeaderName, HeaderSource)> {
        let Some(Password(password)) = &self.password else {
            return None;
        };
        let pair = format!("{}:{}", self.username, password.reveal());
        let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
        Some((
            http::header::AUTHORIZATION,
            HeaderSource::Value(Secret::new(value)),
        ))
    }
}

/// The way to `endpoint` that settings say.
pub(super) fn connection(
    endpoint: Uri,
    headers: &BTreeMap<String, Header>,
    timeout: Span,
    tls: &Tls,
) -> Connection {
    let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    Connection {
        headers: headers
            .iter()
            .filter_map(|(name, value)| header(name, value).ok())
            .collect(),
        timeout: timeout.0,
        tls: TlsFiles {
            ca: path(&tls.ca_file),
            identity: path(&tls.cert_file).zip(path(&tls.key_file)),
            server_name: (!tls.server_name_override.is_empty())
                .then(|| tls.server_name_override.clone()),
        },
        ..Connection::new(endpoint)
    }
}

/// A header as it is sent; else what is wrong with it.
fn header(name: &str, value: &Header) -> Result<(HeaderName, HeaderSource), &'static str> {
    let name: HeaderName = name
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| "this is no name of a header: letters, digits and `-`")?;
    if let HeaderSource::Value(value) = &value.0 {
        HeaderValue::from_str(value.reveal())
            .map_err(|_| "its value is not one line of visible text")?;
    }
    Ok((name, value.0.clone()))
}

/// An address of a receiver; else what is wrong with it, and the fix.
pub(super) fn uri(text: &str, example: &str) -> Result<Uri, String> {
    let write = |problem: &str| format!("{problem}: write {example}");
    if text.is_empty() {
        return Err(write("it is missing"));
    }
    let uri: Uri = text.parse().map_err(|_| write("it is no address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(write("it has neither http:// nor https://"));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(write("it has no host"));
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("credentials go into `headers`, where they are not shown".to_owned());
    }
    if !uri
        .authority()
        .is_none_or(|authority| has_usable_port(authority.as_str()))
    {
        return Err(write("its port is no number from 1 to 65535"));
    }
    if uri.query().is_some() {
        return Err(write("it has a query"));
    }
    Ok(uri)
}
