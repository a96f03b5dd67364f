//! What the user writes of a Pyroscope server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{Client, Config, Limits, Options, encode};
use crate::export::exporter::{self, Target, TargetError};
use crate::export::otlp;
use crate::export::settings::{
    BasicAuth, Checks, Header, Retry, SendingQueue, Tls, connection, uri,
};
use crate::profile::quantity::{Bytes, Span};
use crate::profile::{Payload, Profile, WindowUuid};

/// A Pyroscope server, through its own push API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
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

impl Default for Settings {
    fn default() -> Self {
        let limits = Limits::default();
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

impl exporter::Settings for Settings {
    fn check(&self, checks: &mut Checks) {
        let endpoint = self.uri();
        if let Err(fix) = &endpoint {
            checks.unless(false, "endpoint", fix);
        }
        let network = (&self.tls, &self.headers, self.timeout);
        checks.network(endpoint.ok().as_ref(), network);
        let auth = &self.basic_auth;
        checks.unless(
            !auth.username.contains(':') && (auth.username.is_empty() == auth.password.is_none()),
            "basic_auth",
            "both `username`, without `:`, and `password` are needed",
        );
        checks.unless(
            auth.username.is_empty()
                || !self
                    .headers
                    .keys()
                    .any(|name| name.eq_ignore_ascii_case("authorization")),
            "headers.authorization",
            "`basic_auth` says it already: write one of the two",
        );
        checks.request("max_profile_size", self.max_profile_size);
        checks.unless(
            (100..=1_000_000).contains(&self.max_samples),
            "max_samples",
            "100 to 1000000",
        );
        for name in self.external_labels.keys() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            checks.unless(
                name.chars().all(is_name)
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty(),
                &format!("external_labels.{name}"),
                "names of labels are letters, digits and `_`",
            );
        }
        checks.queue(self.retry_on_failure, self.sending_queue);
    }

    fn check_files(&self, checks: &mut Checks) {
        checks.files(&self.tls, &self.headers);
    }

    fn queue(&self) -> (Retry, SendingQueue) {
        (self.retry_on_failure, self.sending_queue)
    }

    fn target(&self) -> Option<Arc<dyn Target>> {
        let endpoint = self.uri().ok()?;
        Some(Arc::new(self.config(endpoint)))
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
    fn uri(&self) -> Result<Uri, String> {
        uri(self.endpoint.trim(), "http://HOST:4040")
    }

    fn config(&self, endpoint: Uri) -> Config {
        let mut connection = connection(endpoint, &self.headers, self.timeout, &self.tls);
        connection.headers.extend(self.basic_auth.header());
        Config {
            connection,
            tenant: (!self.tenant_id.is_empty()).then(|| self.tenant_id.clone()),
            options: Options {
                labels: self
                    .external_labels
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                service_name: (!self.service_name.is_empty()).then(|| self.service_name.clone()),
                node: otlp::Host::read().name,
                limits: Limits {
                    profile_bytes: usize::try_from(self.max_profile_size.0).unwrap_or(usize::MAX),
                    samples: self.max_samples,
                    ..Limits::default()
                },
            },
        }
    }
}
