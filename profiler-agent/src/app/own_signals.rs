//! The agent's own signals: who it is in them, and how their receivers are reached.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::memory_limit::MemoryLimit;
use super::settings::Settings;
use super::{clock, codec};
use crate::config::{Telemetry, VariableError};
use crate::export::connection::{self, Connection, TlsFiles};
use crate::export::otlp;
use crate::page::AnswerFormat;
use crate::telemetry::otlp::{OwnSignals, Receiver, SignalError};
use crate::telemetry::own_profile::{self, OwnProfile};

/// Longest time for a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the agent's own signals cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum OwnSignalsError {
    /// The environment's settings for them.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// Their exporters.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

/// Logs and exports from now on. Within the runtime that connections are to be made in.
pub(super) fn start(settings: &Settings<'_>) -> Result<OwnSignals, OwnSignalsError> {
    let telemetry = &settings.config.telemetry;
    let config = telemetry.otlp.config(settings.environment, resource())?;
    let connect = |receiver: &Receiver| channel(receiver, settings.environment);
    let now = clock::boot_now().0;
    Ok(OwnSignals::start(
        &telemetry.logs.config(),
        &config,
        &connect,
        now,
    )?)
}

/// The profile that the agent takes of itself where the configuration turns it on, within a limit of memory.
pub(super) fn profile(config: &Telemetry, memory: Option<MemoryLimit>) -> Option<OwnProfile> {
    let has_room = move || {
        let limit = memory.as_ref();
        !limit.is_some_and(|limit| limit.is_short_with(own_profile::MEMORY))
    };
    config.profile.then(|| OwnProfile {
        encode: |profile| codec::encode(profile, AnswerFormat::Pprof),
        has_room: Box::new(has_room),
    })
}

/// Who the agent is.
fn resource() -> Vec<(String, String)> {
    let host = otlp::Host::read();
    // Every hasher of the standard library has keys of its own.
    let run = RandomState::new().hash_one(());
    [
        ("service.name", Some("profiler-agent".to_owned())),
        (
            "service.version",
            Some(env!("CARGO_PKG_VERSION").to_owned()),
        ),
        ("service.instance.id", Some(format!("{run:016x}"))),
        ("host.id", host.id),
        ("host.name", host.name),
        ("host.arch", host.arch.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}

/// Connects when there is something to send, and again when a connection breaks: as the exporters of profiles do.
fn channel(
    receiver: &Receiver,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Channel, String> {
    let connection = connection(receiver, environment);
    let connector = connection::connector(&connection).map_err(|error| error.to_string())?;
    let endpoint = Endpoint::from(receiver.uri()).timeout(TIMEOUT);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// With the certificates that the variables of all signals name.
fn connection(receiver: &Receiver, environment: &dyn Fn(&str) -> Option<String>) -> Connection {
    let file = |name: &str| {
        let path = environment(&format!("OTEL_EXPORTER_OTLP_{name}"))?;
        (!path.is_empty()).then(|| PathBuf::from(path))
    };
    Connection {
        timeout: TIMEOUT,
        tls: TlsFiles {
            ca: file("CERTIFICATE"),
            identity: file("CLIENT_CERTIFICATE").zip(file("CLIENT_KEY")),
            server_name: None,
        },
        ..Connection::new(receiver.uri())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_those_of_all_signals() {
        let receiver = Receiver::parse("https://collector:4317").expect("an address");
        let named = |variables: &'static [(&str, &str)]| {
            let environment = |name: &str| {
                let variable = variables.iter().find(|(variable, _)| *variable == name);
                variable.map(|(_, value)| (*value).to_owned())
            };
            connection(&receiver, &environment).tls
        };
        assert_eq!(named(&[]), TlsFiles::default());
        let all = named(&[
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/client.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/client.key"),
        ]);
        assert_eq!(all.ca, Some("/ca.pem".into()));
        assert_eq!(
            all.identity,
            Some(("/client.pem".into(), "/client.key".into()))
        );
    }
}
