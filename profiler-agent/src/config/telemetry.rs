//! What the agent says about itself, and to whom.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::profile::quantity::Span;
use crate::telemetry::log::{LogConfig, LogFormat, LogLevel};
use crate::telemetry::otlp::{OtlpConfig, Receiver, ReceiverError};

/// The agent's own telemetry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where `/metrics`, `/healthz` and `/readyz` are answered beside the page's own address.
    pub endpoint: Endpoint,
    /// Is `/debug/pprof/profile` answered there?
    pub profile: bool,
    /// Its log lines.
    pub logs: Logs,
    /// Its signals over OTLP.
    pub otlp: Otlp,
}

/// The agent's own signals over OTLP (gRPC).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// The receiver.
    pub endpoint: OtlpEndpoint,
    /// Does it get metrics?
    pub metrics: bool,
    /// Does it get traces?
    pub traces: bool,
    /// Does it get logs?
    pub logs: bool,
    /// Time between two exports of metrics.
    pub interval: Span,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: OtlpEndpoint::default(),
            metrics: true,
            traces: true,
            logs: false,
            interval: Span(Duration::from_secs(60)),
        }
    }
}

/// The address of an OTLP receiver; the empty text stands for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpEndpoint(pub Option<Receiver>);

impl<'de> Deserialize<'de> for OtlpEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let receiver = Receiver::parse(&text).map_err(de::Error::custom)?;
        Ok(Self(Some(receiver)))
    }
}

impl Serialize for OtlpEndpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(receiver) => serializer.collect_str(receiver),
            None => serializer.serialize_str(""),
        }
    }
}

/// A variable of the environment that names no receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {source}")]
pub struct VariableError {
    variable: String,
    source: ReceiverError,
}

impl Otlp {
    /// As the stage wants it. A signal's own variable of the environment
    /// (`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, `.._TRACES_ENDPOINT`, `.._LOGS_ENDPOINT`) turns it on and comes first.
    /// The variable of all signals (`OTEL_EXPORTER_OTLP_ENDPOINT`) is for profiles alone.
    ///
    /// # Errors
    /// A variable with a value that cannot be followed.
    pub fn config(
        &self,
        environment: impl Fn(&str) -> Option<String>,
        resource: Vec<(String, String)>,
    ) -> Result<OtlpConfig, VariableError> {
        let receiver = |signal: &str, wanted: bool| {
            let variable = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
            let value = environment(&variable).map(|value| value.trim().to_owned());
            match value.filter(|value| !value.is_empty()) {
                Some(value) => match Receiver::parse(&value) {
                    Ok(receiver) => Ok(Some(receiver)),
                    Err(source) => Err(VariableError { variable, source }),
                },
                None => Ok(self.endpoint.0.clone().filter(|_| wanted)),
            }
        };
        Ok(OtlpConfig {
            metrics: receiver("METRICS", self.metrics)?,
            traces: receiver("TRACES", self.traces)?,
            logs: receiver("LOGS", self.logs)?,
            interval: self.interval.0,
            resource,
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers(
        endpoint: &str,
        variables: &[(&str, &str)],
    ) -> Result<[Option<String>; 3], String> {
        let otlp = Otlp {
            endpoint: OtlpEndpoint(Receiver::parse(endpoint).ok()),
            ..Otlp::default()
        };
        let environment = |name: &str| {
            let variable = variables.iter().find(|(variable, _)| *variable == name);
            variable.map(|(_, value)| (*value).to_owned())
        };
        let config = otlp.config(environment, Vec::new());
        let config = config.map_err(|error| error.to_string())?;
        let text = |receiver: Option<Receiver>| receiver.map(|receiver| receiver.to_string());
        Ok([config.metrics, config.traces, config.logs].map(text))
    }

    #[test]
    fn own_signals_go_where_they_are_told_to_and_nowhere_else() {
        let profiles = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317");
        assert_eq!(receivers("", &[profiles]), Ok([None, None, None]));
        let b = Some("http://b:4317/".to_owned());
        assert_eq!(
            receivers("http://b:4317", &[]),
            Ok([b.clone(), b.clone(), None])
        );
        let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", " https://c ");
        let c = Some("https://c/".to_owned());
        assert_eq!(receivers("", &[logs]), Ok([None, None, c]));
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d:1");
        let d = Some("http://d:1/".to_owned());
        assert_eq!(receivers("http://b:4317", &[traces]), Ok([b, d, None]));
        let wrong = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "b:4317")];
        let said = receivers("", &wrong);
        assert!(said.is_err_and(|said| said.contains("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")));
    }
}
