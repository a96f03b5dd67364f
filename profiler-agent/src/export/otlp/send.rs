//! The client.

use std::sync::Arc;

use http::uri::PathAndQuery;

use super::config::{Config, Protocol};
use super::{grpc, http as plain};
use crate::export::connection::{ClientError, Failure, Http, Transport};
use crate::profile::{Delivery, Destination, Payload};

/// A receiver of OTLP profiles.
pub struct Client {
    transport: Transport,
    protocol: Protocol,
    path: PathAndQuery,
}

impl Client {
    /// A client of the receiver that `config` names. It connects when there is something to send,
    /// and again whenever the connection breaks; it must be used within a tokio runtime.
    ///
    /// # Errors
    /// Files that cannot be read or make no sense, endpoints that cannot be reached by the protocol.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        let endpoint = &config.connection.endpoint;
        let wrong = |message: String| ClientError::Endpoint {
            endpoint: endpoint.to_string(),
            message,
        };
        let (path, http) = match config.protocol {
            Protocol::Grpc => {
                if !matches!(endpoint.path(), "" | "/") || endpoint.query().is_some() {
                    let fix = "gRPC has no path: write HOST:PORT only (usually 4317)";
                    return Err(wrong(fix.to_owned()));
                }
                (grpc::path(), Http::Two)
            }
            Protocol::Http => {
                let path = plain::path(endpoint, config.whole_endpoint);
                (path.map_err(|error| wrong(error.to_string()))?, Http::Any)
            }
        };
        Ok(Self {
            transport: Transport::new(config.connection, http)?,
            protocol: config.protocol,
            path,
        })
    }
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let coding = payload.coding;
        let (headers, body) = match self.protocol {
            Protocol::Grpc => {
                let timeout = self.transport.connection().timeout;
                (grpc::headers(coding, timeout), grpc::body(payload))
            }
            Protocol::Http => (plain::headers(coding), plain::body(payload)),
        };
        let answer = self.transport.post(self.path.clone(), headers, body).await;
        match (answer, self.protocol) {
            (Ok(answer), Protocol::Grpc) => grpc::outcome(&answer),
            (Ok(answer), Protocol::Http) => plain::outcome(&answer),
            (Err(Failure(message)), _) => Delivery::Retry {
                after: None,
                message,
            },
        }
    }
}

#[cfg(test)]
#[path = "http_send_tests.rs"]
mod http_tests;
#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
