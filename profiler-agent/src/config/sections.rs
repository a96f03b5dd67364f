//! What is not about where profiles go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, IntoDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::part::Part;
use super::trace_url::TraceUrl;
use crate::collect;
use crate::profile::quantity::{Bytes, Span};

/// How samples are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Samples a second on each CPU: 1 to 10,000.
    pub frequency: u32,
    /// Length of a window: 1 s to 10 min.
    pub window: Span,
    /// Time that threads do not run.
    pub off_cpu: OffCpu,
}

/// Whether and which stays of threads off a CPU are sampled.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffCpu {
    /// Are they?
    pub enabled: bool,
    /// Stays of this length and longer are all sampled, of shorter ones as many as stand for them all: 10 µs to 2 s.
    pub threshold: Span,
    /// The part of what would be sampled that is; each stands for the others.
    pub probability: Part,
}

impl OffCpu {
    /// What the collector is to do.
    #[must_use]
    pub fn options(&self) -> Option<collect::OffCpu> {
        self.enabled.then(|| collect::OffCpu {
            threshold: self.threshold.0,
            probability: self.probability.get(),
        })
    }
}

impl Default for OffCpu {
    fn default() -> Self {
        Self {
            enabled: false,
            threshold: Span(Duration::from_millis(1)),
            probability: Part::WHOLE,
        }
    }
}

/// Unwind tables.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Bytes of them in the kernel.
    pub max_size: Bytes,
    /// Where they are kept between runs; nowhere when empty.
    pub cache_directory: PathBuf,
    /// Bytes that the cache may hold.
    pub cache_max_size: Bytes,
}

/// The local store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Where it is.
    pub directory: PathBuf,
    /// Length of its file.
    pub max_size: Bytes,
    /// Age of its oldest window.
    pub max_age: Span,
}

/// The page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// Address and port.
    pub endpoint: SocketAddr,
    /// Names besides loopback's under which the page may be asked for.
    pub host_names: Vec<String>,
    /// Where traces are looked at.
    pub trace_url: TraceUrl,
    /// File with the token that the page asks for; it asks for none when empty.
    pub token_file: PathBuf,
    /// Users, by name or number, that may see the page on loopback beside root, the agent's own user and the one
    /// that called sudo.
    pub users: Vec<String>,
    /// May everybody who reaches the page see it?
    pub allow_unauthenticated: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            frequency: 99,
            window: Span(Duration::from_secs(10)),
            off_cpu: OffCpu::default(),
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            max_size: Bytes(48 << 20),
            cache_directory: "/var/cache/profiler-agent".into(),
            cache_max_size: Bytes(256 << 20),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        let limits = crate::store::Limits::default();
        Self {
            directory: "/var/lib/profiler-agent".into(),
            max_size: Bytes(limits.max_bytes),
            max_age: Span(limits.max_age),
        }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self {
            endpoint: SocketAddr::from(([127, 0, 0, 1], 4099)),
            host_names: Vec::new(),
            trace_url: TraceUrl::default(),
            token_file: PathBuf::new(),
            users: Vec::new(),
            allow_unauthenticated: false,
        }
    }
}

/// What waits on disk for exporters whose receivers do not answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Where it is; nowhere when empty, and what waits is in memory only.
    pub directory: PathBuf,
    /// Bytes for each exporter; the oldest are dropped first.
    pub max_size: Bytes,
    /// Age of the oldest.
    pub max_age: Span,
    /// What is not delivered after this is written to disk; `0s`: everything is, before it is sent.
    pub write_after: Span,
    /// When what was written survives a loss of power.
    pub sync: Sync,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: "/var/lib/profiler-agent/spool".into(),
            max_size: Bytes(512 << 20),
            max_age: Span(Duration::from_secs(24 * 3600)),
            write_after: Span(Duration::from_millis(500)),
            sync: Sync::Always,
        }
    }
}

/// `always`, or a time of which at most as much is lost with the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// At once.
    Always,
    /// As often as this.
    Every(Span),
}

impl<'de> Deserialize<'de> for Sync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "always" => Ok(Self::Always),
            other => Span::deserialize(other.into_deserializer())
                .map(Self::Every)
                .map_err(|error: de::value::Error| {
                    de::Error::custom(format!("{error}; or `always`"))
                }),
        }
    }
}

impl Serialize for Sync {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always => serializer.serialize_str("always"),
            Self::Every(span) => span.serialize(serializer),
        }
    }
}
