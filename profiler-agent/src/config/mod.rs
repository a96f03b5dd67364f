//! What the user asked for, validated.
//!
//! The file is YAML; every key has a default, an unknown key is refused with its line and column.
//! Durations and sizes carry their unit: `10s`, `512MiB`.

mod labels;
mod quantity;
mod telemetry;
mod trace_url;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use labels::Labels;
use quantity::{Bytes, Span};
pub use telemetry::{Telemetry, VariableError};
pub use trace_url::TraceUrl;

/// The agent's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// How samples are taken.
    pub sampling: Sampling,
    /// Unwind tables.
    pub tables: Tables,
    /// Labels of the code itself.
    pub labels: Labels,
    /// The local store.
    pub store: Store,
    /// The page.
    pub page: Page,
    /// What the agent says about itself.
    pub telemetry: Telemetry,
}

/// How samples are taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Samples a second on each CPU: 1 to 10,000.
    pub frequency: u32,
    /// Length of a window: 1 s to 10 min.
    pub window: Span,
}

/// Unwind tables.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// Address and port.
    pub endpoint: SocketAddr,
    /// Names besides loopback's under which the page may be asked for.
    pub host_names: Vec<String>,
    /// Where traces are looked at.
    pub trace_url: TraceUrl,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            frequency: 99,
            window: Span(Duration::from_secs(10)),
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
        }
    }
}

/// A configuration that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// A value is out of its range.
    #[error("{key}: {fix}")]
    Range {
        /// The key.
        key: &'static str,
        /// What it may be.
        fix: &'static str,
    },
}

impl AgentConfig {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Malformed {
                path: path.to_owned(),
                problem: error.to_string(),
            })?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let in_range = |holds: bool, key, fix| {
            if holds {
                Ok(())
            } else {
                Err(ConfigError::Range { key, fix })
            }
        };
        let window = self.sampling.window.0;
        in_range(
            (1..=10_000).contains(&self.sampling.frequency),
            "sampling.frequency",
            "1 to 10000 samples a second",
        )?;
        in_range(
            (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&window),
            "sampling.window",
            "1s to 10m",
        )?;
        in_range(
            (1..=Labels::MOST_VALUES).contains(&self.labels.max_values),
            "labels.max_values",
            "1 to 10000",
        )?;
        in_range(
            self.tables.max_size.0 >= 1 << 20,
            "tables.max_size",
            "at least 1MiB",
        )?;
        in_range(
            self.store.max_size.0 >= crate::store::Limits::MIN_BYTES,
            "store.max_size",
            "at least 8MiB",
        )?;
        in_range(
            self.store.max_age.0 >= window,
            "store.max_age",
            "at least one window",
        )?;
        in_range(
            self.telemetry.otlp.interval.0 >= Duration::from_secs(1),
            "telemetry.otlp.interval",
            "at least 1s",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::{self, KeyPattern};
    use crate::telemetry::log::{LogFormat, LogLevel};
    use crate::telemetry::otlp::Receiver;

    fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::parse(text, Path::new("agent.yaml"))
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse("").unwrap(), AgentConfig::default());
        assert_eq!(
            AgentConfig::default().labels.correlation(),
            correlate::Config::default()
        );
        assert_eq!(
            parse("# nothing\nsampling: {}\n").unwrap(),
            AgentConfig::default()
        );
    }

    #[test]
    fn every_key_is_read() {
        let text = "sampling:\n  frequency: 199\n  window: 15s\ntables:\n  max_size: 8MiB\n  \
                    cache_directory: /a\n  cache_max_size: 1GiB\nlabels:\n  \
                    include: [http.*, user]\n  exclude: [http.path]\n  max_values: 10\n  \
                    goroutine_ids: true\nstore:\n  directory: /b\n  \
                    max_size: 64MiB\n  max_age: 2h\npage:\n  endpoint: 127.0.0.1:1234\n  \
                    host_names: [profiler.example]\n  trace_url: \
                    \"https://ui.example/trace/{trace_id}?span={span_id}\"\n\
                    telemetry:\n  endpoint: 127.0.0.1:1235\n  logs:\n    level: debug\n    \
                    format: json\n  otlp:\n    endpoint: http://otel:4317\n    metrics: false\n    \
                    traces: true\n    logs: true\n    interval: 10s\n";
        let config = parse(text).unwrap();
        assert_eq!(config.sampling.frequency, 199);
        assert_eq!(config.sampling.window.0, Duration::from_secs(15));
        assert_eq!(config.tables.max_size.0, 8 << 20);
        assert_eq!(config.tables.cache_directory, Path::new("/a"));
        assert_eq!(config.tables.cache_max_size.0, 1 << 30);
        let labels = config.labels.correlation();
        let pattern = |text| KeyPattern::parse(text).unwrap();
        assert_eq!(labels.keys.include, [pattern("http.*"), pattern("user")]);
        assert_eq!(labels.keys.exclude, [pattern("http.path")]);
        assert_eq!((labels.max_values, labels.goroutine_ids), (10, true));
        assert_eq!(config.store.directory, Path::new("/b"));
        assert_eq!(config.store.max_size.0, 64 << 20);
        assert_eq!(config.store.max_age.0, Duration::from_secs(7200));
        assert_eq!(config.page.endpoint.port(), 1234);
        assert_eq!(config.page.host_names, ["profiler.example"]);
        assert_eq!(
            config.page.trace_url.0.as_deref(),
            Some("https://ui.example/trace/{trace_id}?span={span_id}")
        );
        let endpoint = config.telemetry.endpoint.0;
        assert_eq!(endpoint.map(|endpoint| endpoint.port()), Some(1235));
        let logs = config.telemetry.logs.config();
        assert_eq!(
            (logs.level, logs.format),
            (LogLevel::Debug, LogFormat::Json)
        );
        let otlp = config.telemetry.otlp.config(|_| None, Vec::new()).unwrap();
        assert_eq!(otlp.metrics, None);
        assert_eq!(otlp.traces, Receiver::parse("http://otel:4317").ok());
        assert_eq!(otlp.logs, otlp.traces);
        assert_eq!(otlp.interval, Duration::from_secs(10));
    }

    #[test]
    fn the_readme_shows_the_defaults() {
        let readme = include_str!("../../../README.md");
        let (_, rest) = readme.split_once("```yaml\n").unwrap();
        let (yaml, _) = rest.split_once("```").unwrap();
        assert_eq!(parse(yaml).unwrap(), AgentConfig::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let unknown = parse("sampling:\n  frequencyy: 99\n")
            .unwrap_err()
            .to_string();
        assert!(
            unknown.contains("frequencyy") && unknown.contains("line 2"),
            "{unknown}"
        );
        assert!(
            unknown.contains("expected one of frequency"),
            "what is expected: {unknown}"
        );
        let unit = parse("sampling:\n  window: 10\n").unwrap_err().to_string();
        assert!(unit.contains("10s"), "{unit}");
        for (text, key) in [
            ("sampling: {frequency: 0}", "sampling.frequency"),
            ("sampling: {window: 1h}", "sampling.window"),
            ("tables: {max_size: 1KiB}", "tables.max_size"),
            ("labels: {max_values: 0}", "labels.max_values"),
            ("labels: {include: ['*.user']}", "*.user"),
            ("store: {max_size: 1MiB}", "store.max_size"),
            ("store: {max_age: 1s}", "store.max_age"),
            ("telemetry: {endpoint: '4098'}", "127.0.0.1:4098"),
            ("telemetry: {logs: {level: loud}}", "warn"),
            (
                "telemetry: {otlp: {endpoint: 'otel:4317'}}",
                "http://HOST:4317",
            ),
            (
                "telemetry: {otlp: {interval: 10ms}}",
                "telemetry.otlp.interval",
            ),
        ] {
            assert!(parse(text).unwrap_err().to_string().contains(key), "{text}");
        }
    }
}
