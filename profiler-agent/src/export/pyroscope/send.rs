//! The client.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, header};

use super::config::Config;
use super::outcome::outcome;
use crate::export::connection::{Body, ClientError, Failure, Http, Transport};
use crate::profile::{Delivery, Destination, Payload};

const PUSH: &str = "/push.v1.PusherService/Push";

/// A Pyroscope server.
pub struct Client {
    transport: Transport,
    path: PathAndQuery,
    headers: HeaderMap,
}

impl Client {
    /// A client of the server that `config` names. It connects when there is something to send, and again whenever
    /// the connection breaks; it must be used within a tokio runtime.
    ///
    /// # Errors
    /// Files that cannot be read or make no sense, endpoints that are none, a tenant that is no header's value.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        let endpoint = &config.connection.endpoint;
        let base = endpoint.path().trim_end_matches('/');
        let path = format!("{base}{PUSH}");
        let path = path.parse().map_err(|error| ClientError::Endpoint {
            endpoint: endpoint.to_string(),
            message: format!("{error}"),
        })?;
        let mut headers = HeaderMap::new();
        let text = HeaderValue::from_static;
        headers.insert(header::CONTENT_TYPE, text("application/proto"));
        headers.insert("connect-protocol-version", text("1"));
        let milliseconds = config.connection.timeout.as_millis().min(9_999_999_999);
        let milliseconds = HeaderValue::from(milliseconds as u64);
        headers.insert("connect-timeout-ms", milliseconds);
        if let Some(tenant) = &config.tenant {
            let tenant = HeaderValue::from_str(tenant).map_err(|_| ClientError::Header {
                name: "X-Scope-OrgID".to_owned(),
                message: "a tenant is visible ASCII text".to_owned(),
            })?;
            headers.insert("x-scope-orgid", tenant);
        }
        Ok(Self {
            transport: Transport::new(config.connection, Http::Any)?,
            path,
            headers,
        })
    }
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let (path, headers) = (self.path.clone(), self.headers.clone());
        let answer = self.transport.post(path, headers, Body::new(payload)).await;
        match answer {
            Ok(answer) => outcome(&answer),
            Err(Failure(message)) => Delivery::Retry {
                after: None,
                message,
            },
        }
    }
}
