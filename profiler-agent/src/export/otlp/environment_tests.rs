//! What the variables mean.

use std::time::Duration;

use super::{Config, ConfigError, FromEnvironment};
use crate::export::connection::HeaderSource;
use crate::export::otlp::Protocol;
use crate::profile::Coding;

fn read(variables: &[(&str, &str)]) -> Result<Option<FromEnvironment>, ConfigError> {
    Config::from_environment(|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");

fn with(variable: (&str, &str)) -> Result<Config, String> {
    let config = read(&[ENDPOINT, variable]).map_err(|error| error.to_string())?;
    Ok(config.expect("an endpoint is set").config)
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
    let config = read(&[ENDPOINT]).unwrap().unwrap().config;
    assert_eq!(
        config.connection.endpoint.to_string(),
        "http://collector:4317/"
    );
    assert_eq!(config.connection.timeout, Duration::from_secs(10));
    assert_eq!(config.protocol, Protocol::Grpc);
    assert_eq!(config.options.coding, Coding::Gzip);
    assert!(config.connection.headers.is_empty() && config.options.service_name.is_none());
}

#[test]
fn the_variable_for_profiles_comes_first() {
    let own = (
        "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
        "https://pyroscope:4040",
    );
    let config = read(&[ENDPOINT, own]).unwrap().unwrap().config;
    assert_eq!(
        config.connection.endpoint.to_string(),
        "https://pyroscope:4040/"
    );
    let own = ("OTEL_EXPORTER_OTLP_PROFILES_HEADERS", "a=1");
    let config = read(&[ENDPOINT, own, ("OTEL_EXPORTER_OTLP_HEADERS", "b=2")]);
    assert_eq!(config.unwrap().unwrap().config.connection.headers.len(), 1);
}

#[test]
fn insecure_decides_where_there_is_no_scheme() {
    let endpoint = |extra: &[(&str, &str)]| {
        let bare = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
        let read = read(&[&[bare], extra].concat()).unwrap().unwrap();
        read.config.connection.endpoint.to_string()
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
            "http/json",
            "write grpc or http/protobuf",
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
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "br", "gzip, zstd or none"),
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
fn the_port_of_the_other_protocol_is_doubted() {
    let http = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    let warnings = read(&[http]).unwrap().unwrap().warnings;
    assert!(
        warnings[0].contains("PROTOCOL=http/protobuf"),
        "{warnings:?}"
    );
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let read_both = read(&[http, protocol]).unwrap().unwrap();
    assert!(read_both.warnings.is_empty());
    let warnings = read(&[ENDPOINT, protocol]).unwrap().unwrap().warnings;
    assert!(warnings[0].contains("PROTOCOL=grpc"), "{warnings:?}");
}

#[test]
fn over_http_the_endpoint_of_profiles_is_whole() {
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/otlp/");
    let config = read(&[base, protocol]).unwrap().unwrap().config;
    assert_eq!(
        (config.protocol, config.whole_endpoint),
        (Protocol::Http, false)
    );
    let whole = ("OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT", "http://c:4318/in");
    let config = read(&[base, whole, protocol]).unwrap().unwrap().config;
    assert!(config.whole_endpoint);
    assert_eq!(config.connection.endpoint.to_string(), "http://c:4318/in");
}

#[test]
fn compression() {
    let coding = |value| {
        let config = with(("OTEL_EXPORTER_OTLP_COMPRESSION", value));
        config.unwrap().options.coding
    };
    assert_eq!(coding("zstd"), Coding::Zstd);
    assert_eq!(coding("none"), Coding::Identity);
}

#[test]
fn headers_are_decoded_and_hidden() {
    let config = with((
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Authorization=Basic%20eA==, x-b = 2,",
    ));
    let headers = config.unwrap().connection.headers;
    let show = |(name, source): &(http::HeaderName, HeaderSource)| match source {
        HeaderSource::Value(secret) => format!("{name}: {}", secret.reveal()),
        HeaderSource::File(path) => panic!("{path:?}"),
    };
    let shown: Vec<_> = headers.iter().map(show).collect();
    assert_eq!(shown, ["authorization: Basic eA==", "x-b: 2"]);
    assert!(!format!("{headers:?}").contains("eA=="), "{headers:?}");
}

#[test]
fn resource_attributes_are_decoded_or_dropped_whole() {
    let resource = |value| {
        let variable = ("OTEL_RESOURCE_ATTRIBUTES", value);
        let read = read(&[ENDPOINT, variable]).unwrap().unwrap();
        (read.config.options.resource, read.warnings.len())
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

#[test]
fn a_password_in_an_address_is_not_repeated() {
    let with_password = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:PW@host:4317");
    let said = read(&[with_password]).unwrap_err().to_string();
    assert!(
        said.contains("..@host:4317") && !said.contains("PW"),
        "{said}"
    );
    let unusable = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:PW@host:99999");
    assert!(!read(&[unusable]).unwrap_err().to_string().contains("PW"));
    let port = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://host:99999");
    assert!(read(&[port]).unwrap_err().to_string().contains("65535"));
}
