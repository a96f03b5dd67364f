//! Settings that are what they should be, but not within what they may be.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::Uri;

use super::{Header, Retry, SendingQueue, Tls, header};
use crate::export::connection::{HeaderSource, check};
use crate::profile::quantity::{Bytes, Span};

/// A value that is not within its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its key, below the destination's; the first `.` leads further down, to a key that may have more of them.
    pub key: String,
    /// What it may be.
    pub fix: String,
}

/// What is wrong with a destination's settings.
#[derive(Debug)]
pub struct Checks {
    /// Length of a window.
    pub window: Duration,
    wrong: Vec<Wrong>,
}

impl Checks {
    /// Nothing is known to be wrong.
    #[must_use]
    pub const fn new(window: Duration) -> Self {
        Self {
            window,
            wrong: Vec::new(),
        }
    }

    /// Notes `fix` for `key` unless it `holds`.
    pub fn unless(&mut self, holds: bool, key: &str, fix: impl Into<String>) {
        if !holds {
            self.wrong.push(Wrong {
                key: key.to_owned(),
                fix: fix.into(),
            });
        }
    }

    /// Notes `fix` for `key` unless something is wrong with it already.
    pub fn also(&mut self, key: &str, fix: impl Into<String>) {
        let is_known = self.wrong.iter().any(|wrong| wrong.key == key);
        self.unless(is_known, key, fix);
    }

    /// All that is wrong, in the order of the checks.
    #[must_use]
    pub fn wrong(self) -> Vec<Wrong> {
        self.wrong
    }

    /// What destinations over a network have in common. `endpoint`: where it is valid.
    pub(in crate::export) fn network(
        &mut self,
        endpoint: Option<&Uri>,
        (tls, headers, timeout): (&Tls, &BTreeMap<String, Header>, Span),
    ) {
        // Of an endpoint that is wrong it is not known whether it is encrypted.
        self.tls(
            tls,
            endpoint.is_none_or(|uri| uri.scheme_str() == Some("https")),
        );
        for (name, value) in headers {
            if let Err(fix) = header(name, value) {
                self.unless(false, &format!("headers.{name}"), fix);
            }
        }
        self.unless(
            (Duration::from_millis(100)..=Duration::from_secs(600)).contains(&timeout.0),
            "timeout",
            "100ms to 10m",
        );
    }

    /// Files that destinations over a network read.
    pub(in crate::export) fn files(&mut self, tls: &Tls, headers: &BTreeMap<String, Header>) {
        for (name, Header(source)) in headers {
            if let HeaderSource::File(path) = source
                && let Err(error) = check::header(path)
            {
                self.unless(false, &format!("headers.{name}"), error.to_string());
            }
        }
        let is_named = |path: &Path| !path.as_os_str().is_empty();
        if is_named(&tls.ca_file)
            && let Err(error) = check::authorities(&tls.ca_file)
        {
            self.unless(false, "tls.ca_file", error.to_string());
        }
        if is_named(&tls.cert_file)
            && is_named(&tls.key_file)
            && let Err((is_key, error)) = check::identity(&tls.cert_file, &tls.key_file)
        {
            let key = if is_key {
                "tls.key_file"
            } else {
                "tls.cert_file"
            };
            self.unless(false, key, error.to_string());
        }
    }

    fn tls(&mut self, tls: &Tls, encrypted: bool) {
        self.unless(
            tls.cert_file.as_os_str().is_empty() == tls.key_file.as_os_str().is_empty(),
            "tls",
            "`cert_file` and `key_file` belong together",
        );
        let names_something = *tls
            != Tls {
                insecure: tls.insecure,
                ..Tls::default()
            };
        self.unless(
            encrypted || !names_something,
            "tls",
            "the endpoint is not encrypted: write https://, or take the certificates out",
        );
    }

    /// Largest request or profile.
    pub(in crate::export) fn request(&mut self, key: &str, size: Bytes) {
        self.unless(
            (64 << 10..=256 << 20).contains(&size.0),
            key,
            "64KiB to 256MiB",
        );
    }

    /// How payloads wait.
    pub(in crate::export) fn queue(&mut self, retry: Retry, queue: SendingQueue) {
        self.unless(
            (Duration::from_millis(10)..=Duration::from_secs(600))
                .contains(&retry.initial_interval.0),
            "retry_on_failure.initial_interval",
            "10ms to 10m",
        );
        self.unless(
            retry.max_interval >= retry.initial_interval
                && retry.max_interval.0 <= Duration::from_secs(3600),
            "retry_on_failure.max_interval",
            "at least `initial_interval`, at most 1h",
        );
        self.unless(
            (1..=16).contains(&queue.num_consumers),
            "sending_queue.num_consumers",
            "1 to 16",
        );
        self.unless(
            (1 << 20..=1 << 30).contains(&queue.queue_size.0),
            "sending_queue.queue_size",
            "1MiB to 1GiB",
        );
    }
}
