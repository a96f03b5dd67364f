//! Where profiles go, as the user writes it: names as the OpenTelemetry collector has them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::quantity::{Bytes, Span};
use super::text::{Header, Password};

/// An exporter; its kind is what its name begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Exporter {
    /// `otlp_grpc`.
    OtlpGrpc(Otlp),
    /// `otlp_http`.
    OtlpHttp(Otlp),
    /// `pyroscope`.
    Pyroscope(Pyroscope),
    /// `file`.
    File(File),
}

/// A receiver of OTLP profiles.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// `otlp_grpc`: `HOST:PORT`, or with `http://` or `https://`; `otlp_http`: the base URL, which
    /// `/v1development/profiles` is added to.
    pub endpoint: String,
    /// `otlp_http`: the whole URL of profiles, in place of `endpoint`.
    pub profiles_endpoint: String,
    /// Sent with every request.
    pub headers: BTreeMap<String, Header>,
    /// `gzip`, `zstd` or `none`.
    pub compression: Compression,
    /// Longest time for one attempt.
    pub timeout: Span,
    /// Encryption and certificates.
    pub tls: Tls,
    /// When a failed attempt is repeated.
    pub retry_on_failure: Retry,
    /// What waits in memory.
    pub sending_queue: SendingQueue,
    /// Largest request, not compressed.
    pub max_request_size: Bytes,
    /// Sends when each sample was taken, not how many there are.
    pub timestamps: bool,
    /// Sends thread ids and names.
    pub threads: bool,
    /// Sends goroutine ids, where `labels.goroutine_ids` keeps them.
    pub goroutines: bool,
    /// `service.name` of everything; each process's own when empty.
    pub service_name: String,
    /// Resource attributes of everything.
    pub resource: BTreeMap<String, String>,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            profiles_endpoint: String::new(),
            headers: BTreeMap::new(),
            compression: Compression::Gzip,
            timeout: Span(Duration::from_secs(10)),
            tls: Tls::default(),
            retry_on_failure: Retry::default(),
            sending_queue: SendingQueue::default(),
            max_request_size: Bytes(4 << 20),
            timestamps: true,
            threads: false,
            goroutines: false,
            service_name: String::new(),
            resource: BTreeMap::new(),
        }
    }
}

/// A Pyroscope server, through its own push API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pyroscope {
    /// `http://HOST:4040`, without a path of the API.
    pub endpoint: String,
    /// `X-Scope-OrgID`; none when empty.
    pub tenant_id: String,
    /// HTTP's basic authentication.
    pub basic_auth: BasicAuth,
    /// Sent with every request.
    pub headers: BTreeMap<String, Header>,
    /// Longest time for one attempt.
    pub timeout: Span,
    /// Encryption and certificates.
    pub tls: Tls,
    /// When a failed attempt is repeated.
    pub retry_on_failure: Retry,
    /// What waits in memory.
    pub sending_queue: SendingQueue,
    /// Labels of every series.
    pub external_labels: BTreeMap<String, String>,
    /// `service_name` of everything; each process's own when empty.
    pub service_name: String,
    /// Largest profile that the server takes, not compressed.
    pub max_profile_size: Bytes,
    /// Most samples in a profile that the server takes.
    pub max_samples: usize,
}

impl Default for Pyroscope {
    fn default() -> Self {
        let limits = crate::export::pyroscope::Limits::default();
        Self {
            endpoint: String::new(),
            tenant_id: String::new(),
            basic_auth: BasicAuth::default(),
            headers: BTreeMap::new(),
            timeout: Span(Duration::from_secs(10)),
            tls: Tls::default(),
            retry_on_failure: Retry::default(),
            sending_queue: SendingQueue::default(),
            external_labels: BTreeMap::new(),
            service_name: String::new(),
            max_profile_size: Bytes(limits.profile_bytes as u64),
            max_samples: limits.samples,
        }
    }
}

/// A user and a password; none when the user is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Option<Password>,
}

/// A directory of files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The directory; made where it is missing.
    pub directory: PathBuf,
    /// `pprof` or `otlp`.
    pub format: FileFormat,
    /// Bytes of all files together.
    pub max_size: Bytes,
    /// Age of the oldest file.
    pub max_age: Span,
}

impl Default for File {
    fn default() -> Self {
        Self {
            directory: PathBuf::new(),
            format: FileFormat::Pprof,
            max_size: Bytes(1 << 30),
            max_age: Span(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// RFC 1952: what every receiver takes.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// Not at all.
    None,
}

/// The format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// `.pb.gz`.
    Pprof,
    /// `.otlp`.
    Otlp,
}

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
