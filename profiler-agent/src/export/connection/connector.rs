//! Makes connections.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::resolver::Resolver;
use super::stream::Stream;

/// Makes TCP connections, and TLS on them where there is something to show and to trust.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Connector {
    pub(super) fn new(
        timeout: Duration,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::system());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        // Shared by all addresses that a name has.
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, tls }
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let connecting = self.tcp.call(uri);
        let tls = self.tls.clone();
        Box::pin(async move {
            let tcp = connecting.await.map_err(io::Error::other)?.into_inner();
            let stream = match tls {
                None => Stream::Plain(tcp),
                Some((config, name)) => {
                    let stream = TlsConnector::from(config).connect(name, tcp).await?;
                    Stream::Tls(Box::new(stream))
                }
            };
            Ok(TokioIo::new(stream))
        })
    }
}
