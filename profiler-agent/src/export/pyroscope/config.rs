//! Where to push to, and what profiles look like there.

use http::Uri;

use crate::export::connection::Connection;

/// A Pyroscope server, or what stands before one.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach it; the endpoint without `/push.v1.PusherService/Push`. Basic authentication is a
    /// header like any other (`authorization`).
    pub connection: Connection,
    /// Whose profiles they are, where a server has several tenants: `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// What profiles look like.
    pub options: Options,
}

impl Config {
    /// The server at `endpoint`, without a tenant.
    #[must_use]
    pub fn new(endpoint: Uri) -> Self {
        Self {
            connection: Connection::new(endpoint),
            tenant: None,
            options: Options::default(),
        }
    }
}

/// How profiles become series.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Labels of every series. Where a process has a label of the same name, the process's stays.
    pub labels: Vec<(String, String)>,
    /// `service_name` of everything; else it is each process's own.
    pub service_name: Option<String>,
    /// `node` of everything whose own attributes name none: this machine's name.
    pub node: Option<String>,
    /// What the server takes.
    pub limits: Limits,
}

/// What a server takes: its defaults. What is longer is cut or split, so that nothing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest profile in bytes, not compressed.
    pub profile_bytes: usize,
    /// Most samples (distinct stacks with their labels) in a profile.
    pub samples: usize,
    /// Most frames of a stack, inlined ones counted; deeper ones lose their roots and say so.
    pub stack_depth: usize,
    /// Most labels of a series, those of samples counted.
    pub labels: usize,
    /// Longest name of a label, in bytes.
    pub label_name: usize,
    /// Longest value of a label, in bytes.
    pub label_value: usize,
}

impl Default for Limits {
    /// Those of a Pyroscope that nobody configured.
    fn default() -> Self {
        Self {
            profile_bytes: 4 << 20,
            samples: 16_000,
            stack_depth: 1_000,
            labels: 30,
            label_name: 1_024,
            label_value: 2_048,
        }
    }
}
