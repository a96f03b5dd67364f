//! What the user wrote of exporters, as the stages take it.

use std::path::PathBuf;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::{HeaderName, HeaderValue, Uri};

use super::exporter::{
    BasicAuth, Compression, Exporter, File, FileFormat, Otlp, Pyroscope, Retry, SendingQueue, Tls,
};
use super::text::{Header, Password};
use super::{AgentConfig, Sync};
use crate::export::connection::{Connection, HeaderSource, Secret, TlsFiles};
use crate::export::{directory, otlp, pyroscope};
use crate::profile::Coding;
use crate::profile::endpoint::has_usable_port;
use crate::spool;

/// A destination of profiles.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The exporter's name.
    pub name: String,
    /// Where to.
    pub kind: Kind,
    /// How it waits.
    pub queue: spool::Config,
    /// Where it waits on disk.
    pub directory: Option<PathBuf>,
}

/// Where a destination is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A receiver of OTLP.
    Otlp(otlp::Config),
    /// Pyroscope's push API.
    Pyroscope(pyroscope::Config),
    /// Files.
    Directory(directory::Config),
}

/// A key and what is wrong with its value.
pub(super) type Wrong = (&'static str, String);

impl AgentConfig {
    /// The destinations of a validated configuration.
    #[must_use]
    pub fn destinations(&self) -> Vec<Destination> {
        let destination = |(name, exporter): (&String, &Exporter)| {
            let (kind, retry, queue) = match exporter {
                Exporter::OtlpGrpc(otlp) => (
                    otlp.grpc_endpoint()
                        .ok()
                        .map(|uri| Kind::Otlp(otlp.config(uri, otlp::Protocol::Grpc, false)))?,
                    otlp.retry_on_failure,
                    otlp.sending_queue,
                ),
                Exporter::OtlpHttp(otlp) => (
                    otlp.http_endpoint().ok().map(|(uri, whole)| {
                        Kind::Otlp(otlp.config(uri, otlp::Protocol::Http, whole))
                    })?,
                    otlp.retry_on_failure,
                    otlp.sending_queue,
                ),
                Exporter::Pyroscope(pyroscope) => (
                    pyroscope
                        .uri()
                        .ok()
                        .map(|uri| Kind::Pyroscope(pyroscope.config(uri)))?,
                    pyroscope.retry_on_failure,
                    pyroscope.sending_queue,
                ),
                Exporter::File(file) => (
                    Kind::Directory(file.config()),
                    Retry::default(),
                    SendingQueue {
                        num_consumers: 1,
                        ..SendingQueue::default()
                    },
                ),
            };
            Some(self.destination(name.clone(), kind, retry, queue))
        };
        self.exporters.iter().filter_map(destination).collect()
    }

    /// A destination that the environment names, with the defaults of those in the file.
    #[must_use]
    pub fn from_environment(&self, config: otlp::Config) -> Destination {
        let name = match config.protocol {
            otlp::Protocol::Grpc => "otlp_grpc/environment",
            otlp::Protocol::Http => "otlp_http/environment",
        };
        self.destination(
            name.to_owned(),
            Kind::Otlp(config),
            Retry::default(),
            SendingQueue::default(),
        )
    }

    fn destination(
        &self,
        name: String,
        kind: Kind,
        retry: Retry,
        queue: SendingQueue,
    ) -> Destination {
        let spool = &self.spool;
        let defaults = spool::Config::default();
        Destination {
            name,
            kind,
            queue: spool::Config {
                memory: queue.queue_size.0,
                disk: spool.max_size.0,
                age: spool.max_age.0,
                concurrency: queue.num_consumers,
                write_after: spool.write_after.0,
                sync: match spool.sync {
                    Sync::Always => spool::SyncPolicy::Always,
                    Sync::Every(span) => spool::SyncPolicy::Interval(span.0),
                },
                backoff: spool::Backoff {
                    initial: retry.initial_interval.0,
                    max: retry.max_interval.0,
                    ..defaults.backoff
                },
                ..defaults
            },
            directory: (!spool.directory.as_os_str().is_empty()).then(|| spool.directory.clone()),
        }
    }
}

impl Otlp {
    /// `HOST:PORT` is encrypted unless `tls.insecure`.
    pub(super) fn grpc_endpoint(&self) -> Result<Uri, Wrong> {
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
    pub(super) fn http_endpoint(&self) -> Result<(Uri, bool), Wrong> {
        let (key, text, whole) = if self.profiles_endpoint.is_empty() {
            ("endpoint", &self.endpoint, false)
        } else {
            ("profiles_endpoint", &self.profiles_endpoint, true)
        };
        uri(text.trim(), "https://HOST:4318")
            .map(|uri| (uri, whole))
            .map_err(|fix| (key, fix))
    }

    fn config(
        &self,
        endpoint: Uri,
        protocol: otlp::Protocol,
        whole_endpoint: bool,
    ) -> otlp::Config {
        otlp::Config {
            connection: connection(endpoint, &self.headers, self.timeout.0, &self.tls),
            protocol,
            whole_endpoint,
            options: otlp::Options {
                shape: if self.timestamps {
                    otlp::Shape::Timestamps
                } else {
                    otlp::Shape::Values
                },
                threads: self.threads,
                goroutines: self.goroutines,
                service_name: (!self.service_name.is_empty()).then(|| self.service_name.clone()),
                resource: self
                    .resource
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                host: otlp::Host::read(),
                max_bytes: usize::try_from(self.max_request_size.0).unwrap_or(usize::MAX),
                coding: match self.compression {
                    Compression::Gzip => Coding::Gzip,
                    Compression::Zstd => Coding::Zstd,
                    Compression::None => Coding::Identity,
                },
                ..otlp::Options::default()
            },
        }
    }
}

impl Pyroscope {
    pub(super) fn uri(&self) -> Result<Uri, String> {
        uri(self.endpoint.trim(), "http://HOST:4040")
    }

    fn config(&self, endpoint: Uri) -> pyroscope::Config {
        let mut connection = connection(endpoint, &self.headers, self.timeout.0, &self.tls);
        connection.headers.extend(self.basic_auth.header());
        pyroscope::Config {
            connection,
            tenant: (!self.tenant_id.is_empty()).then(|| self.tenant_id.clone()),
            options: pyroscope::Options {
                labels: self
                    .external_labels
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                service_name: (!self.service_name.is_empty()).then(|| self.service_name.clone()),
                node: otlp::Host::read().name,
                limits: pyroscope::Limits {
                    profile_bytes: usize::try_from(self.max_profile_size.0).unwrap_or(usize::MAX),
                    samples: self.max_samples,
                    ..pyroscope::Limits::default()
                },
            },
        }
    }
}

impl BasicAuth {
    fn header(&self) -> Option<(HeaderName, HeaderSource)> {
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

impl File {
    fn config(&self) -> directory::Config {
        directory::Config {
            format: match self.format {
                FileFormat::Pprof => directory::FileFormat::Pprof,
                FileFormat::Otlp => directory::FileFormat::Otlp,
            },
            max_bytes: self.max_size.0,
            max_age: self.max_age.0,
            ..directory::Config::new(self.directory.clone())
        }
    }
}

fn connection(
    endpoint: Uri,
    headers: &std::collections::BTreeMap<String, Header>,
    timeout: Duration,
    tls: &Tls,
) -> Connection {
    let path = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    Connection {
        headers: headers
            .iter()
            .filter_map(|(name, value)| header(name, value).ok())
            .collect(),
        timeout,
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
pub(super) fn header(
    name: &str,
    value: &Header,
) -> Result<(HeaderName, HeaderSource), &'static str> {
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

fn uri(text: &str, example: &str) -> Result<Uri, String> {
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
