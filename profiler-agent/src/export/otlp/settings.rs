//! What the user writes of a receiver of OTLP profiles.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{Client, Config, Host, Options, Protocol, Shape, encode};
use crate::export::exporter::{self, Target, TargetError};
use crate::export::settings::{Checks, Header, Retry, SendingQueue, Tls, connection, uri};
use crate::profile::quantity::{Bytes, Span};
use crate::profile::{Coding, Payload, Profile, WindowUuid};

/// A receiver of OTLP profiles over gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Grpc(pub Settings);

/// A receiver of OTLP profiles over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Http(pub Settings);

/// What both have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
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

impl Default for Settings {
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

/// A key and what is wrong with its value.
type Wrong = (&'static str, String);

impl exporter::Settings for Grpc {
    fn check(&self, checks: &mut Checks) {
        checks.unless(
            self.0.profiles_endpoint.is_empty(),
            "profiles_endpoint",
            "gRPC has no paths: write `endpoint`",
        );
        self.0.check(self.0.grpc_endpoint(), checks);
    }

    fn check_files(&self, checks: &mut Checks) {
        checks.files(&self.0.tls, &self.0.headers);
    }

    fn queue(&self) -> (Retry, SendingQueue) {
        (self.0.retry_on_failure, self.0.sending_queue)
    }

    fn target(&self) -> Option<Arc<dyn Target>> {
        let endpoint = self.0.grpc_endpoint().ok()?;
        Some(Arc::new(self.0.config(endpoint, Protocol::Grpc, false)))
    }
}

impl exporter::Settings for Http {
    fn check(&self, checks: &mut Checks) {
        checks.unless(
            self.0.endpoint.is_empty() != self.0.profiles_endpoint.is_empty(),
            "endpoint",
            "either `endpoint` (https://HOST:4318) or `profiles_endpoint` is needed",
        );
        let endpoint = self.0.http_endpoint().map(|(endpoint, _)| endpoint);
        self.0.check(endpoint, checks);
    }

    fn check_files(&self, checks: &mut Checks) {
        checks.files(&self.0.tls, &self.0.headers);
    }

    fn queue(&self) -> (Retry, SendingQueue) {
        (self.0.retry_on_failure, self.0.sending_queue)
    }

    fn target(&self) -> Option<Arc<dyn Target>> {
        let (endpoint, whole) = self.0.http_endpoint().ok()?;
        Some(Arc::new(self.0.config(endpoint, Protocol::Http, whole)))
    }
}

impl Target for Config {
    fn encode(&self, profile: &Profile, window: WindowUuid) -> Vec<Payload> {
        encode(profile, window, &self.options)
    }

    fn client(&self) -> Result<exporter::Client, TargetError> {
        Client::new(self.clone())
            .map(exporter::Client::new)
            .map_err(TargetError::lasting)
    }
}

impl Settings {
    fn check(&self, endpoint: Result<Uri, Wrong>, checks: &mut Checks) {
        if let Err((key, fix)) = &endpoint {
            checks.also(key, fix);
        }
        let network = (&self.tls, &self.headers, self.timeout);
        checks.network(endpoint.ok().as_ref(), network);
        checks.request("max_request_size", self.max_request_size);
        checks.queue(self.retry_on_failure, self.sending_queue);
    }

    /// `HOST:PORT` is encrypted unless `tls.insecure`.
    fn grpc_endpoint(&self) -> Result<Uri, Wrong> {
        let text = self.endpoint.trim();
        if text.is_empty() {
            return Err(("endpoint", "it is missing: write HOST:4317".to_owned()));
        }
        let scheme = match text.split_once("://") {
            Some(("http" | "https", _)) => "",
            Some(_) => {
                return Err((
                    "endpoint",
                    "write HOST:4317, http://HOST:4317 or https://HOST:4317".to_owned(),
                ));
            }
            None if self.tls.insecure => "http://",
            None => "https://",
        };
        let uri = uri(&format!("{scheme}{text}"), "HOST:4317").map_err(|fix| ("endpoint", fix))?;
        if !matches!(uri.path(), "" | "/") {
            return Err((
                "endpoint",
                "gRPC has no path: write HOST:4317, or use `otlp_http`".to_owned(),
            ));
        }
        Ok(uri)
    }

    /// The address, and whether it is that of profiles as it stands.
    fn http_endpoint(&self) -> Result<(Uri, bool), Wrong> {
        let (key, text, whole) = if self.profiles_endpoint.is_empty() {
            ("endpoint", &self.endpoint, false)
        } else {
            ("profiles_endpoint", &self.profiles_endpoint, true)
        };
        uri(text.trim(), "https://HOST:4318")
            .map(|uri| (uri, whole))
            .map_err(|fix| (key, fix))
    }

    fn config(&self, endpoint: Uri, protocol: Protocol, whole_endpoint: bool) -> Config {
        Config {
            connection: connection(endpoint, &self.headers, self.timeout, &self.tls),
            protocol,
            whole_endpoint,
            options: Options {
                shape: if self.timestamps {
                    Shape::Timestamps
                } else {
                    Shape::Values
                },
                threads: self.threads,
                goroutines: self.goroutines,
                service_name: (!self.service_name.is_empty()).then(|| self.service_name.clone()),
                resource: self
                    .resource
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                host: Host::read(),
                max_bytes: usize::try_from(self.max_request_size.0).unwrap_or(usize::MAX),
                coding: match self.compression {
                    Compression::Gzip => Coding::Gzip,
                    Compression::Zstd => Coding::Zstd,
                    Compression::None => Coding::Identity,
                },
                ..Options::default()
            },
        }
    }
}
