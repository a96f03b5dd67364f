//! Where to export to, from the environment variables of the OpenTelemetry specification
//! ("OpenTelemetry Protocol Exporter", "Resource SDK"). For each `OTEL_EXPORTER_OTLP_X`,
//! `OTEL_EXPORTER_OTLP_PROFILES_X` comes first, by analogy with the other signals. An empty value
//! is an unset one.

use std::path::PathBuf;
use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue};

use super::options::{Host, Options};
use super::pairs::pairs;

/// Where receivers take OTLP over HTTP by default.
const HTTP_PORT: u16 = 4318;

/// Where to export to, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Scheme (`http` or `https`) and authority.
    pub endpoint: Uri,
    /// Sent with every request.
    pub headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    /// Are requests compressed with gzip?
    pub gzip: bool,
    /// Longest time for one attempt.
    pub timeout: Duration,
    /// File of the certificates (PEM) that the receiver's must be signed by; else the system's.
    pub certificate: Option<PathBuf>,
    /// Files (PEM) of the certificate and of the key that this agent shows.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Resource attributes of every profile.
    pub resource: Vec<(String, String)>,
    /// `service.name` of every profile; each process's own otherwise.
    pub service_name: Option<String>,
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
    ) -> Result<Option<Self>, ConfigError> {
        let environment = Environment { get };
        let Some(endpoint) = environment.exporter("ENDPOINT") else {
            return Ok(None);
        };
        environment.check_protocol()?;
        let mut warnings = Vec::new();
        let uri = environment.endpoint(&endpoint)?;
        if uri.port_u16() == Some(HTTP_PORT) {
            warnings.push(format!(
                "{}: {HTTP_PORT} is usually a receiver's HTTP port; profiles go over gRPC, \
                 usually to 4317",
                endpoint.variable
            ));
        }
        Ok(Some(Self {
            endpoint: uri,
            headers: environment.headers()?,
            gzip: environment.gzip()?,
            timeout: environment.timeout()?,
            certificate: environment
                .exporter("CERTIFICATE")
                .map(|setting| setting.value.into()),
            identity: environment.identity()?,
            resource: environment.resource(&mut warnings),
            service_name: environment.get("OTEL_SERVICE_NAME"),
            warnings,
        }))
    }

    /// How profiles become requests for this receiver.
    #[must_use]
    pub fn options(&self, host: Host) -> Options {
        Options {
            service_name: self.service_name.clone(),
            resource: self.resource.clone(),
            host,
            ..Options::default()
        }
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
        ["OTEL_EXPORTER_OTLP_PROFILES_", "OTEL_EXPORTER_OTLP_"]
            .into_iter()
            .map(|prefix| format!("{prefix}{name}"))
            .find_map(|variable| {
                let value = self.get(&variable)?;
                Some(Setting { variable, value })
            })
    }

    fn check_protocol(&self) -> Result<(), ConfigError> {
        match self.exporter("PROTOCOL") {
            Some(setting) if setting.value != "grpc" => Err(setting.error(
                "profiles are exported over gRPC only: set \
                 OTEL_EXPORTER_OTLP_PROFILES_PROTOCOL=grpc and \
                 OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT to the receiver's gRPC port (usually 4317)",
            )),
            _ => Ok(()),
        }
    }

    /// `http://` is plain, `https://` is TLS; without a scheme, INSECURE decides.
    fn endpoint(&self, setting: &Setting) -> Result<Uri, ConfigError> {
        let value = &setting.value;
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
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(setting.error(format!(
                "gRPC has no path: write {}://{} with the receiver's gRPC port (usually 4317)",
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

    fn headers(&self) -> Result<Vec<(AsciiMetadataKey, AsciiMetadataValue)>, ConfigError> {
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
            let key: AsciiMetadataKey = name.to_ascii_lowercase().parse().map_err(|_| {
                hidden.error(format!("{name:?} is no name of a header with a text value"))
            })?;
            let mut value = AsciiMetadataValue::try_from(value.as_str()).map_err(|_| {
                hidden.error(format!("the value of {name} is not visible ASCII text"))
            })?;
            // Never shown in logs.
            value.set_sensitive(true);
            Ok((key, value))
        };
        pairs.into_iter().map(header).collect()
    }

    fn gzip(&self) -> Result<bool, ConfigError> {
        match self.exporter("COMPRESSION") {
            None => Ok(true),
            Some(setting) => match setting.value.as_str() {
                "gzip" => Ok(true),
                "none" => Ok(false),
                _ => Err(setting.error("write gzip or none")),
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
mod tests {
    use std::time::Duration;

    use super::{Config, ConfigError};

    fn read(variables: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
        Config::from_environment(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

    fn with(variable: (&str, &str)) -> Result<Config, String> {
        let config = read(&[ENDPOINT, variable]).map_err(|error| error.to_string())?;
        Ok(config.expect("an endpoint is set"))
    }

    #[test]
    fn without_an_endpoint_export_is_off() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[(ENDPOINT.0, "")]).unwrap().is_none());
        assert!(
            read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")])
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn defaults() {
        let config = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(config.endpoint.to_string(), "http://collector:4317/");
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert!(config.gzip && config.headers.is_empty() && config.service_name.is_none());
    }

    #[test]
    fn the_variable_for_profiles_comes_first() {
        let own = (
            "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
            "https://pyroscope:4040",
        );
        let config = read(&[ENDPOINT, own]).unwrap().unwrap();
        assert_eq!(config.endpoint.to_string(), "https://pyroscope:4040/");
        let own = ("OTEL_EXPORTER_OTLP_PROFILES_HEADERS", "a=1");
        let config = read(&[ENDPOINT, own, ("OTEL_EXPORTER_OTLP_HEADERS", "b=2")]);
        assert_eq!(config.unwrap().unwrap().headers.len(), 1);
    }

    #[test]
    fn insecure_decides_where_there_is_no_scheme() {
        let endpoint = |extra: &[(&str, &str)]| {
            let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
            let config = read(&[&[bare], extra].concat()).unwrap().unwrap();
            config.endpoint.to_string()
        };
        assert_eq!(endpoint(&[]), "https://collector:4317/");
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE");
        assert_eq!(endpoint(&[insecure]), "http://collector:4317/");
        assert!(
            with(("OTEL_EXPORTER_OTLP_INSECURE", "1")).is_ok(),
            "http:// comes first"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_the_fix() {
        for (variable, value, fix) in [
            (
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "http/protobuf",
                "PROFILES_PROTOCOL=grpc",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
                "unix:///run/x",
                "http://HOST:4317",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
                "http://",
                "http://HOST:4317",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
                "http://c:4318/v1development/profiles",
                "gRPC has no path: write http://c:4318",
            ),
            (
                "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
                "http://u:p@c:1",
                "HEADERS=authorization",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds"),
            (
                "OTEL_EXPORTER_OTLP_CLIENT_KEY",
                "/k",
                "CLIENT_CERTIFICATE must be set",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization", "name=value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=1", "no name of a header"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0a", "not visible ASCII"),
        ] {
            let error = with((variable, value)).unwrap_err();
            assert!(
                error.starts_with(variable) && error.contains(fix),
                "{error}"
            );
        }
        let error = with(("OTEL_EXPORTER_OTLP_HEADERS", "token=secret%0a")).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_usual_http_port_is_doubted() {
        let http = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let warnings = read(&[http]).unwrap().unwrap().warnings;
        assert!(warnings[0].contains("usually to 4317"), "{warnings:?}");
    }

    #[test]
    fn headers_are_decoded() {
        let config = with((
            "OTEL_EXPORTER_OTLP_HEADERS",
            "Authorization=Basic%20eA==, x-b = 2,",
        ));
        let headers = config.unwrap().headers;
        let show = |(key, value): &(_, tonic::metadata::AsciiMetadataValue)| {
            let key: &tonic::metadata::AsciiMetadataKey = key;
            format!("{key}: {}", value.to_str().unwrap())
        };
        let shown: Vec<_> = headers.iter().map(show).collect();
        assert_eq!(shown, ["authorization: Basic eA==", "x-b: 2"]);
    }

    #[test]
    fn resource_attributes_are_decoded_or_dropped_whole() {
        let resource = |value| {
            let config = with(("OTEL_RESOURCE_ATTRIBUTES", value)).unwrap();
            (config.resource, config.warnings.len())
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            resource("k8s.cluster.name=a%2Cb,x=%C3%A9 ="),
            (vec![pair("k8s.cluster.name", "a,b"), pair("x", "é =")], 0)
        );
        for broken in [
            "good=1,bad",
            "good=1,bad=%4",
            "good=1,bad=%ff",
            "=1",
            "a=%+1",
        ] {
            assert_eq!(resource(broken), (Vec::new(), 1), "{broken}");
        }
    }
}
