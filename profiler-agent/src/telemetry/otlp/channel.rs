//! Connections to receivers.

use std::error::Error as _;
use std::time::Duration;

use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::watched::Signal;
use super::{Receiver, SignalError};

/// Longest time for a request or for a connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that is made when it is needed, and again when it is lost.
pub(super) fn open(receiver: &Receiver, signal: Signal) -> Result<Channel, SignalError> {
    let wrong = |error: tonic::transport::Error| SignalError::Channel {
        signal: signal.name(),
        receiver: receiver.to_string(),
        problem: error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
    };
    let mut endpoint = Endpoint::from(receiver.uri())
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .tcp_keepalive(Some(Duration::from_secs(60)));
    if receiver.is_secure() {
        let tls = ClientTlsConfig::new().with_enabled_roots();
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    Ok(endpoint.connect_lazy())
}
