//! What the agent says about itself, and to whom.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::telemetry::log::{LogConfig, LogFormat, LogLevel};

/// The agent's own telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where `/metrics`, `/healthz` and `/readyz` are answered beside the page's own address.
    pub endpoint: Endpoint,
    /// Its log lines.
    pub logs: Logs,
}

/// The agent's log lines on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// The least severe lines that are written.
    pub level: Level,
    /// How they look.
    pub format: Format,
}

/// See [`LogLevel`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// None.
    Off,
    /// What failed.
    Error,
    /// And what is less than it should be.
    Warn,
    /// And what happens now and then.
    #[default]
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And what happens all the time.
    Trace,
}

/// See [`LogFormat`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// Text.
    Text,
    /// An object a line.
    Json,
}

impl Logs {
    /// As the stage wants them.
    #[must_use]
    pub const fn config(self) -> LogConfig {
        LogConfig {
            level: match self.level {
                Level::Off => LogLevel::Off,
                Level::Error => LogLevel::Error,
                Level::Warn => LogLevel::Warn,
                Level::Info => LogLevel::Info,
                Level::Debug => LogLevel::Debug,
                Level::Trace => LogLevel::Trace,
            },
            format: match self.format {
                Format::Auto => LogFormat::Auto,
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
        }
    }
}

/// Address and port to listen on; the empty text stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint(pub Option<SocketAddr>);

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| {
            de::Error::custom(format!(
                "`{text}` is no address with a port: write 127.0.0.1:4098, or 0.0.0.0:4098 for all of this machine's"
            ))
        })
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => serializer.collect_str(&address),
            None => serializer.serialize_str(""),
        }
    }
}
