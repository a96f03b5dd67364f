//! Where to export to, from the environment variables of the OpenTelemetry specification
//! ("OpenTelemetry Protocol Exporter", "Resource SDK"). For each `OTEL_EXPORTER_OTLP_X`,
//! `OTEL_EXPORTER_OTLP_PROFILES_X` comes first, by analogy with the other signals. An empty value
//! is an unset one.
//!
//! | variable | value | else |
//! |---|---|---|
//! | `ENDPOINT` | over gRPC without a path; over HTTP that of all signals gets `/v1development/profiles` behind its path, that of profiles is used as it is | nothing is exported |
//! | `PROTOCOL` | `grpc`, `http/protobuf` | `grpc` |
//! | `COMPRESSION` | `gzip`, `zstd` (not the specification's; collectors take it), `none` | `gzip` |
//! | `TIMEOUT` | milliseconds | 10000 |
//! | `HEADERS` | `name=value,..`, percent-encoded | |
//! | `INSECURE` | is an endpoint without a scheme plain text? | `false` |
//! | `CERTIFICATE`, `CLIENT_CERTIFICATE`, `CLIENT_KEY` | files in PEM | the system's; none |

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use super::config::{Config, Protocol};
use super::options::Options;
use crate::export::connection::{Connection, HeaderSource, Secret, TlsFiles};
use crate::profile::Coding;
use crate::profile::endpoint::{has_usable_port, without_credentials};
use crate::profile::pairs::pairs;

const GRPC_PORT: u16 = 4317;
const HTTP_PORT: u16 = 4318;
const FOR_PROFILES: &str = "OTEL_EXPORTER_OTLP_PROFILES_";
const FOR_ALL: &str = "OTEL_EXPORTER_OTLP_";

/// What the environment asks for.
#[derive(Clone, Debug)]
pub struct FromEnvironment {
    /// Where to, and how.
    pub config: Config,
    /// What was dropped, as the specification asks for, or is hardly meant: to be logged.
    pub warnings: Vec<String>,
}

/// A setting that cannot be followed, with the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value}: {fix}")]
pub struct ConfigError {
    /// The environment variable.
    pub variable: String,
    /// Its value; `..` for headers, which may be secret.
    pub value: String,
    /// What is wrong with it, and what to write.
    pub fix: String,
}

impl Config {
    /// Reads the variables through `get`; `None` where no endpoint is set: export is off.
    ///
    /// # Errors
    /// The first variable that asks for what is not there, or whose value has no meaning.
    pub fn from_environment(
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<FromEnvironment>, ConfigError> {
        let environment = Environment { get };
        let Some(setting) = environment.exporter("ENDPOINT") else {
            return Ok(None);
        };
        let mut warnings = Vec::new();
        let protocol = environment.protocol()?;
        let endpoint = environment.endpoint(&setting, protocol)?;
        let (port, other) = match protocol {
            Protocol::Grpc => (HTTP_PORT, "http/protobuf"),
            Protocol::Http => (GRPC_PORT, "grpc"),
        };
        if endpoint.port_u16() == Some(port) {
            warnings.push(format!(
                "{}: {port} is usually a receiver's port for another protocol: set \
                 OTEL_EXPORTER_OTLP_PROFILES_PROTOCOL={other} if it is",
                setting.variable
            ));
        }
        let config = Config {
            connection: Connection {
                endpoint,
                headers: environment.headers()?,
                timeout: environment.timeout()?,
                tls: TlsFiles {
                    ca: environment
                        .exporter("CERTIFICATE")
                        .map(|setting| setting.value.into()),
                    identity: environment.identity()?,
                    server_name: None,
                },
            },
            protocol,
            whole_endpoint: setting.variable.starts_with(FOR_PROFILES),
            options: Options {
                coding: environment.coding()?,
                service_name: environment.get("OTEL_SERVICE_NAME"),
                resource: environment.resource(&mut warnings),
                ..Options::default()
            },
        };
        Ok(Some(FromEnvironment { config, warnings }))
    }
}

struct Environment<F> {
    get: F,
}

/// A variable that is set.
struct Setting {
    variable: String,
    value: String,
}

impl Setting {
    fn error(&self, fix: impl Into<String>) -> ConfigError {
        ConfigError {
            variable: self.variable.clone(),
            value: self.value.clone(),
            fix: fix.into(),
        }
    }
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn get(&self, variable: &str) -> Option<String> {
        let value = (self.get)(variable)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The setting of an exporter's variable: that for profiles, else that for all signals.
    fn exporter(&self, name: &str) -> Option<Setting> {
        [FOR_PROFILES, FOR_ALL]
            .into_iter()
            .map(|prefix| format!("{prefix}{name}"))
            .find_map(|variable| {
                let value = self.get(&variable)?;
                Some(Setting { variable, value })
            })
    }

    fn protocol(&self) -> Result<Protocol, ConfigError> {
        match self.exporter("PROTOCOL") {
            None => Ok(Protocol::default()),
            Some(setting) => match setting.value.as_str() {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::Http),
                _ => Err(setting.error("write grpc or http/protobuf")),
            },
        }
    }

    /// `http://` is plain, `https://` is TLS; without a scheme, INSECURE decides.
    fn endpoint(&self, setting: &Setting, protocol: Protocol) -> Result<Uri, ConfigError> {
        let value = &setting.value;
        // What is said of it is logged: without a password.
        let setting = &Setting {
            variable: setting.variable.clone(),
            value: without_credentials(value),
        };
        let scheme = match value.split_once("://") {
            Some(("http" | "https", _)) => "",
            Some(_) => return Err(setting.error("write http://HOST:4317 or https://HOST:4317")),
            None if self.insecure()? => "http://",
            None => "https://",
        };
        let uri: Uri = format!("{scheme}{value}")
            .parse()
            .map_err(|error| setting.error(format!("{error}: write http://HOST:4317")))?;
        let host = uri.host().unwrap_or("");
        if host.is_empty() {
            return Err(setting.error("there is no host in it: write http://HOST:4317"));
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(setting.error(
                "credentials go into OTEL_EXPORTER_OTLP_PROFILES_HEADERS=authorization=Basic%20..",
            ));
        }
        if !uri.authority().is_none_or(|a| has_usable_port(a.as_str())) {
            return Err(
                setting.error("its port is no number from 1 to 65535: write http://HOST:4317")
            );
        }
        let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
        if protocol == Protocol::Grpc && has_path {
            return Err(setting.error(format!(
                "gRPC has no path: write {}://{} with the receiver's gRPC port (usually 4317), or set \
                 OTEL_EXPORTER_OTLP_PROFILES_PROTOCOL=http/protobuf",
                uri.scheme_str().unwrap_or("http"),
                uri.authority().map_or("HOST:4317", |a| a.as_str()),
            )));
        }
        Ok(uri)
    }

    fn insecure(&self) -> Result<bool, ConfigError> {
        match self.exporter("INSECURE") {
            None => Ok(false),
            Some(setting) if setting.value.eq_ignore_ascii_case("true") => Ok(true),
            Some(setting) if setting.value.eq_ignore_ascii_case("false") => Ok(false),
            Some(setting) => Err(setting.error("write true or false")),
        }
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderSource)>, ConfigError> {
        let Some(setting) = self.exporter("HEADERS") else {
            return Ok(Vec::new());
        };
        let hidden = Setting {
            variable: setting.variable,
            value: "..".to_owned(),
        };
        let pairs = pairs(&setting.value)
            .map_err(|fix| hidden.error(format!("{fix}: write name=value,name=value")))?;
        let header = |(name, value): (String, String)| {
            let key: HeaderName = name
                .parse()
                .map_err(|_| hidden.error(format!("{name:?} is no name of a header")))?;
            // Checked here, where the variable is known.
            HeaderValue::from_str(&value).map_err(|_| {
                hidden.error(format!("the value of {name} is not visible ASCII text"))
            })?;
            Ok((key, HeaderSource::Value(Secret::new(value))))
        };
        pairs.into_iter().map(header).collect()
    }

    fn coding(&self) -> Result<Coding, ConfigError> {
        match self.exporter("COMPRESSION") {
            None => Ok(Coding::Gzip),
            Some(setting) => match setting.value.as_str() {
                "gzip" => Ok(Coding::Gzip),
                "zstd" => Ok(Coding::Zstd),
                "none" => Ok(Coding::Identity),
                _ => Err(setting.error("write gzip, zstd or none")),
            },
        }
    }

    fn timeout(&self) -> Result<Duration, ConfigError> {
        let Some(setting) = self.exporter("TIMEOUT") else {
            return Ok(Duration::from_secs(10));
        };
        match setting.value.parse() {
            Ok(milliseconds @ 1..=3_600_000) => Ok(Duration::from_millis(milliseconds)),
            _ => Err(setting.error("write milliseconds, 1 to 3600000")),
        }
    }

    fn identity(&self) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        let certificate = self.exporter("CLIENT_CERTIFICATE");
        let key = self.exporter("CLIENT_KEY");
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Ok(Some((certificate.value.into(), key.value.into())))
            }
            (Some(one), None) => Err(one.error("OTEL_EXPORTER_OTLP_CLIENT_KEY must be set too")),
            (None, Some(one)) => {
                Err(one.error("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE must be set too"))
            }
        }
    }

    /// On an error the whole value is dropped, as the specification has it.
    fn resource(&self, warnings: &mut Vec<String>) -> Vec<(String, String)> {
        let Some(value) = self.get("OTEL_RESOURCE_ATTRIBUTES") else {
            return Vec::new();
        };
        pairs(&value).unwrap_or_else(|fix| {
            warnings.push(format!("OTEL_RESOURCE_ATTRIBUTES is ignored: {fix}"));
            Vec::new()
        })
    }
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
