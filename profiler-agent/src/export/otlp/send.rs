//! The gRPC client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
use prost::Message;
use prost::bytes::BufMut;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::config::Config;
use super::outcome::{answered, failed};
use crate::profile::{Delivery, Destination, Payload};

const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

/// A receiver of OTLP profiles over gRPC.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    config: Arc<Config>,
}

/// A client that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of a certificate or key could not be read.
    #[error("read {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The endpoint or the certificates make no sense.
    #[error("endpoint {endpoint}: {message}")]
    Endpoint {
        /// Where to.
        endpoint: String,
        /// What is wrong.
        message: String,
    },
}

impl Client {
    /// A client of the receiver that `config` names. It connects when there is something to send,
    /// and again whenever the connection breaks; it must be made within a tokio runtime.
    ///
    /// # Errors
    /// Certificate files that cannot be read or make no sense.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        let channel = endpoint(&config)?.connect_lazy();
        Ok(Self::over(channel, config))
    }

    fn over(channel: Channel, config: Config) -> Self {
        Self {
            channel,
            config: Arc::new(config),
        }
    }

    async fn call(&self, payload: Arc<Payload>) -> Result<ExportProfilesServiceResponse, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        if self.config.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client = client.accept_compressed(CompressionEncoding::Gzip);
        client
            .ready()
            .await
            .map_err(|error| Status::from_error(Box::new(error)))?;
        let mut request = Request::new(payload);
        request.set_timeout(self.config.timeout);
        for (key, value) in &self.config.headers {
            request.metadata_mut().append(key.clone(), value.clone());
        }
        let path = PathAndQuery::from_static(EXPORT);
        let response = client.unary(request, path, EncodedPayload).await?;
        Ok(response.into_inner())
    }
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        let call = self.call(payload);
        match tokio::time::timeout(self.config.timeout, call).await {
            Ok(Ok(response)) => answered(response),
            Ok(Err(status)) => failed(&status),
            Err(_) => Delivery::Retry {
                after: None,
                message: format!("no answer within {:?}", self.config.timeout),
            },
        }
    }
}

fn endpoint(config: &Config) -> Result<Endpoint, ClientError> {
    let wrong = |error: tonic::transport::Error| ClientError::Endpoint {
        endpoint: config.endpoint.to_string(),
        message: std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), ToString::to_string),
    };
    let user_agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    let mut endpoint = Endpoint::from(config.endpoint.clone())
        .user_agent(user_agent)
        .map_err(wrong)?
        .connect_timeout(config.timeout)
        .tcp_keepalive(Some(Duration::from_secs(60)));
    if config.endpoint.scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(tls(config)?).map_err(wrong)?;
    }
    Ok(endpoint)
}

fn tls(config: &Config) -> Result<ClientTlsConfig, ClientError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| ClientError::File {
            path: path.to_owned(),
            error,
        })
    };
    let mut tls = match &config.certificate {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((certificate, key)) = &config.identity {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

/// Sends a payload's bytes as they are; reads the answer.
struct EncodedPayload;

impl Codec for EncodedPayload {
    type Encode = Arc<Payload>;
    type Decode = ExportProfilesServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for EncodedPayload {
    type Item = Arc<Payload>;
    type Error = Status;

    fn encode(&mut self, item: Arc<Payload>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item.bytes);
        Ok(())
    }
}

impl Decoder for EncodedPayload {
    type Item = ExportProfilesServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        ExportProfilesServiceResponse::decode(buffer)
            .map(Some)
            .map_err(|error| Status::internal(format!("the receiver's answer: {error}")))
    }
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
