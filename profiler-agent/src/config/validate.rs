//! Values that are what they should be, but not within what they may be.

use std::time::Duration;

use super::exporter::{File, Otlp, Pyroscope, Retry, SendingQueue, Tls};
use super::labels::Labels;
use super::problem::Problem;
use super::sections::{Page, Sync};
use super::{AgentConfig, Exporter};
use crate::collect;

/// What is wrong below a path.
pub(super) struct Found {
    path: Vec<String>,
    problems: Vec<Problem>,
}

impl Found {
    fn new(path: &[&str]) -> Self {
        Self {
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            problems: Vec::new(),
        }
    }

    /// Notes `fix` for `key` unless it `holds`.
    pub(super) fn unless(&mut self, holds: bool, key: &str, fix: impl Into<String>) {
        if !holds {
            let mut path = self.path.clone();
            path.extend(key.split('.').map(str::to_owned));
            self.problems.push(Problem {
                place: None,
                path,
                message: fix.into(),
            });
        }
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl AgentConfig {
    /// All values that are not within their range; their places are found out by who called.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let window = self.sampling.window.0;
        let mut found = Found::new(&[]);
        found.unless(
            (1..=10_000).contains(&self.sampling.frequency),
            "sampling.frequency",
            "1 to 10000 samples a second",
        );
        found.unless(
            (seconds(1)..=seconds(600)).contains(&window),
            "sampling.window",
            "1s to 10m",
        );
        found.unless(
            collect::OffCpu::THRESHOLDS.contains(&self.sampling.off_cpu.threshold.0),
            "sampling.off_cpu.threshold",
            "10us to 2s",
        );
        found.unless(
            (1..=Labels::MOST_VALUES).contains(&self.labels.max_values),
            "labels.max_values",
            "1 to 10000",
        );
        found.unless(
            self.tables.max_size.0 >= 1 << 20,
            "tables.max_size",
            "at least 1MiB",
        );
        found.unless(
            self.store.directory.is_absolute(),
            "store.directory",
            "an absolute path is needed",
        );
        for (key, directory) in [
            ("spool.directory", &self.spool.directory),
            ("tables.cache_directory", &self.tables.cache_directory),
        ] {
            found.unless(
                directory.as_os_str().is_empty() || directory.is_absolute(),
                key,
                "an absolute path is needed, or none to keep nothing on disk",
            );
        }
        self.page.check(&mut found);
        found.unless(
            self.store.max_size.0 >= crate::store::Limits::MIN_BYTES,
            "store.max_size",
            "at least 8MiB",
        );
        found.unless(
            self.store.max_age.0 >= window,
            "store.max_age",
            "at least one window",
        );
        found.unless(
            self.spool.max_size.0 >= 8 << 20,
            "spool.max_size",
            "at least 8MiB",
        );
        found.unless(
            self.spool.max_age.0 >= window,
            "spool.max_age",
            "at least one window",
        );
        found.unless(
            self.spool.write_after.0 <= seconds(60),
            "spool.write_after",
            "0s to 60s",
        );
        found.unless(
            (seconds(1)..=seconds(3600)).contains(&self.telemetry.otlp.interval.0),
            "telemetry.otlp.interval",
            "1s to 1h",
        );
        if let Sync::Every(span) = self.spool.sync {
            found.unless(
                (Duration::from_millis(100)..=seconds(600)).contains(&span.0),
                "spool.sync",
                "`always`, or 100ms to 10m",
            );
        }
        let mut problems = found.problems;
        for (name, exporter) in &self.exporters {
            let mut found = Found::new(&["exporters", name]);
            match exporter {
                Exporter::OtlpGrpc(otlp) => otlp.check(true, &mut found),
                Exporter::OtlpHttp(otlp) => otlp.check(false, &mut found),
                Exporter::Pyroscope(pyroscope) => pyroscope.check(&mut found),
                Exporter::File(file) => file.check(window, &mut found),
            }
            problems.extend(found.problems);
        }
        problems
    }
}

impl Page {
    fn check(&self, found: &mut Found) {
        let has_token = !self.token_file.as_os_str().is_empty();
        found.unless(
            self.endpoint.ip().is_loopback() || has_token || self.allow_unauthenticated,
            "page.endpoint",
            "everybody who reaches this address could read the names and labels of all programs: set `page.token_file` \
             to a file with a token (`openssl rand -hex 32`), or `page.allow_unauthenticated: true`",
        );
        found.unless(
            !has_token || self.token_file.is_absolute(),
            "page.token_file",
            "an absolute path is needed",
        );
        let open = has_token || self.allow_unauthenticated;
        found.unless(
            self.users.is_empty() || self.endpoint.ip().is_loopback() && !open,
            "page.users",
            "they are for a page on loopback that asks for no token",
        );
        found.unless(
            !has_token || !self.allow_unauthenticated,
            "page.allow_unauthenticated",
            "`page.token_file` asks for a token: write one of the two",
        );
    }
}

impl Otlp {
    fn check(&self, grpc: bool, found: &mut Found) {
        let endpoint = if grpc {
            found.unless(
                self.profiles_endpoint.is_empty(),
                "profiles_endpoint",
                "gRPC has no paths: write `endpoint`",
            );
            self.grpc_endpoint()
        } else {
            found.unless(
                self.endpoint.is_empty() != self.profiles_endpoint.is_empty(),
                "endpoint",
                "either `endpoint` (https://HOST:4318) or `profiles_endpoint` is needed",
            );
            self.http_endpoint().map(|(endpoint, _)| endpoint)
        };
        if let Err((key, fix)) = &endpoint {
            found.unless(
                found
                    .problems
                    .iter()
                    .any(|problem| problem.path.last().is_some_and(|last| last == key)),
                key,
                fix,
            );
        }
        let encrypted = endpoint.is_ok_and(|uri| uri.scheme_str() == Some("https"));
        self.tls.check(encrypted, found);
        check_headers(&self.headers, found);
        found.unless(
            (Duration::from_millis(100)..=seconds(600)).contains(&self.timeout.0),
            "timeout",
            "100ms to 10m",
        );
        found.unless(
            (64 << 10..=256 << 20).contains(&self.max_request_size.0),
            "max_request_size",
            "64KiB to 256MiB",
        );
        self.retry_on_failure.check(found);
        self.sending_queue.check(found);
    }
}

impl Pyroscope {
    fn check(&self, found: &mut Found) {
        let endpoint = self.uri();
        if let Err(fix) = &endpoint {
            found.unless(false, "endpoint", fix);
        }
        let encrypted = endpoint.is_ok_and(|uri| uri.scheme_str() == Some("https"));
        self.tls.check(encrypted, found);
        check_headers(&self.headers, found);
        let auth = &self.basic_auth;
        found.unless(
            !auth.username.contains(':') && (auth.username.is_empty() == auth.password.is_none()),
            "basic_auth",
            "both `username`, without `:`, and `password` are needed",
        );
        found.unless(
            auth.username.is_empty()
                || !self
                    .headers
                    .keys()
                    .any(|name| name.eq_ignore_ascii_case("authorization")),
            "headers.authorization",
            "`basic_auth` says it already: write one of the two",
        );
        found.unless(
            (Duration::from_millis(100)..=seconds(600)).contains(&self.timeout.0),
            "timeout",
            "100ms to 10m",
        );
        found.unless(
            (64 << 10..=256 << 20).contains(&self.max_profile_size.0),
            "max_profile_size",
            "64KiB to 256MiB",
        );
        found.unless(
            (100..=1_000_000).contains(&self.max_samples),
            "max_samples",
            "100 to 1000000",
        );
        for name in self.external_labels.keys() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            found.unless(
                name.chars().all(is_name)
                    && !name.starts_with(|c: char| c.is_ascii_digit())
                    && !name.is_empty(),
                &format!("external_labels.{name}"),
                "names of labels are letters, digits and `_`",
            );
        }
        self.retry_on_failure.check(found);
        self.sending_queue.check(found);
    }
}

impl File {
    fn check(&self, window: Duration, found: &mut Found) {
        found.unless(
            self.directory.is_absolute(),
            "directory",
            "an absolute path is needed",
        );
        found.unless(self.max_size.0 >= 1 << 20, "max_size", "at least 1MiB");
        found.unless(self.max_age.0 >= window, "max_age", "at least one window");
    }
}

impl Tls {
    fn check(&self, encrypted: bool, found: &mut Found) {
        found.unless(
            self.cert_file.as_os_str().is_empty() == self.key_file.as_os_str().is_empty(),
            "tls",
            "`cert_file` and `key_file` belong together",
        );
        let names_something = *self
            != Self {
                insecure: self.insecure,
                ..Self::default()
            };
        found.unless(
            encrypted || !names_something,
            "tls",
            "the endpoint is not encrypted: write https://, or take the certificates out",
        );
    }
}

impl Retry {
    fn check(self, found: &mut Found) {
        found.unless(
            (Duration::from_millis(10)..=seconds(600)).contains(&self.initial_interval.0),
            "retry_on_failure.initial_interval",
            "10ms to 10m",
        );
        found.unless(
            self.max_interval >= self.initial_interval && self.max_interval.0 <= seconds(3600),
            "retry_on_failure.max_interval",
            "at least `initial_interval`, at most 1h",
        );
    }
}

impl SendingQueue {
    fn check(self, found: &mut Found) {
        found.unless(
            (1..=16).contains(&self.num_consumers),
            "sending_queue.num_consumers",
            "1 to 16",
        );
        found.unless(
            (1 << 20..=1 << 30).contains(&self.queue_size.0),
            "sending_queue.queue_size",
            "1MiB to 1GiB",
        );
    }
}

fn check_headers(
    headers: &std::collections::BTreeMap<String, super::text::Header>,
    found: &mut Found,
) {
    for (name, header) in headers {
        if let Err(fix) = super::destination::header(name, header) {
            found.unless(false, &format!("headers.{name}"), fix);
        }
    }
}
