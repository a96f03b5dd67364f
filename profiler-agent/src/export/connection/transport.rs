//! Posts bodies to a receiver.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::body::Body;
use super::connector::Connector;
use super::files::Watched;
use super::{ClientError, Connection, HeaderSource, header as values, tls};
use crate::profile::UnixTime;

/// Longest answer that is read: a receiver has a few words to say.
const MAX_ANSWER: usize = 64 << 10;
const MAX_HEADERS: usize = 64 << 10;
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a connection is kept that nothing is sent over: receivers close theirs after a minute or later, and
/// what is sent while they do fails.
const IDLE: Duration = Duration::from_secs(20);
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Which versions of HTTP a protocol is spoken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::export) enum Http {
    /// 1.1, and 2 where TLS agrees on it.
    Any,
    /// 2 only, in plain text too.
    Two,
}

/// What a receiver answered.
#[derive(Debug)]
pub(in crate::export) struct Answer {
    /// When it came.
    pub(in crate::export) received: UnixTime,
    pub(in crate::export) status: StatusCode,
    pub(in crate::export) headers: HeaderMap,
    pub(in crate::export) body: Bytes,
    pub(in crate::export) trailers: HeaderMap,
}

/// There is no answer, or none that ends: what went wrong. Always worth another attempt.
#[derive(Debug)]
pub(in crate::export) struct Failure(pub(in crate::export) String);

/// The way to one receiver: its connections, and the headers for it.
pub(in crate::export) struct Transport {
    connection: Connection,
    http: Http,
    state: Mutex<State>,
}

struct State {
    client: Client<Connector, Body>,
    headers: HeaderMap,
    tls: Option<Arc<ClientConfig>>,
    header_files: Watched,
    tls_files: Watched,
    looked: Instant,
}

impl Transport {
    /// Connects when there is something to send, and again whenever a connection breaks.
    pub(in crate::export) fn new(connection: Connection, http: Http) -> Result<Self, ClientError> {
        check(&connection.endpoint)?;
        let header_files = Watched::new(connection.header_files());
        let tls_files = Watched::new(connection.tls_files());
        let headers = values::values(&connection.headers)?;
        let tls = read_tls(&connection, http)?;
        let state = State {
            client: client(&connection, http, tls.clone())?,
            headers,
            tls,
            header_files,
            tls_files,
            looked: Instant::now(),
        };
        Ok(Self {
            connection,
            http,
            state: Mutex::new(state),
        })
    }

    pub(in crate::export) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Posts to this path on the endpoint; `headers` come before those of the user.
    pub(in crate::export) async fn post(
        &self,
        path: PathAndQuery,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Answer, Failure> {
        let (client, mut all) = self.current();
        for name in headers.keys() {
            all.remove(name);
        }
        all.extend(headers);
        all.entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(USER_AGENT));
        let mut uri = self.connection.endpoint.clone().into_parts();
        uri.path_and_query = Some(path);
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            Uri::from_parts(uri).expect("the endpoint has a scheme and an authority");
        *request.headers_mut() = all;
        let exchange = exchange(&client, request);
        match tokio::time::timeout(self.connection.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => {
                // A connection whose other end is gone without a word takes requests for long.
                self.connect_anew();
                Err(Failure(format!(
                    "no answer within {:?}",
                    self.connection.timeout
                )))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done with the state leaves it inconsistent when it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client and the headers, from files as they are.
    fn current(&self) -> (Client<Connector, Body>, HeaderMap) {
        let mut state = self.state();
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            self.refresh(&mut state);
        }
        (state.client.clone(), state.headers.clone())
    }

    /// Reads what changed. Each change is read once, and complained about at most once.
    fn refresh(&self, state: &mut State) {
        let endpoint = &self.connection.endpoint;
        if state.header_files.changed() {
            match values::values(&self.connection.headers) {
                Ok(headers) => state.headers = headers,
                Err(error) => tracing::warn!(%endpoint, %error, "the header of before stays"),
            }
        }
        if state.tls_files.changed() {
            let fresh = read_tls(&self.connection, self.http).and_then(|tls| {
                let client = client(&self.connection, self.http, tls.clone())?;
                Ok((tls, client))
            });
            match fresh {
                Ok((tls, client)) => {
                    (state.tls, state.client) = (tls, client);
                    tracing::info!(%endpoint, "certificates changed: connecting anew");
                }
                Err(error) => {
                    tracing::warn!(%endpoint, %error, "the certificates of before stay");
                }
            }
        }
    }

    fn connect_anew(&self) {
        let mut state = self.state();
        let fresh = client(&self.connection, self.http, state.tls.clone());
        // It was made from the same before.
        if let Ok(client) = fresh {
            state.client = client;
        }
    }
}

impl Connection {
    fn header_files(&self) -> impl Iterator<Item = std::path::PathBuf> {
        self.headers.iter().filter_map(|(_, source)| match source {
            HeaderSource::File(path) => Some(path.clone()),
            HeaderSource::Value(_) => None,
        })
    }

    fn tls_files(&self) -> Vec<std::path::PathBuf> {
        if !is_tls(&self.endpoint) {
            return Vec::new();
        }
        let identity = self.tls.identity.iter();
        let identity = identity.flat_map(|(certificate, key)| [certificate, key]);
        self.tls.ca.iter().chain(identity).cloned().collect()
    }
}

fn is_tls(endpoint: &Uri) -> bool {
    endpoint.scheme_str() == Some("https")
}

fn check(endpoint: &Uri) -> Result<(), ClientError> {
    let wrong = |endpoint: String, message: &str| ClientError::Endpoint {
        endpoint,
        message: message.to_owned(),
    };
    let authority = endpoint.authority().map_or("", |name| name.as_str());
    if authority.contains('@') {
        let fix = "credentials belong into a header: authorization";
        return Err(wrong("..".to_owned(), fix));
    }
    let scheme = matches!(endpoint.scheme_str(), Some("http" | "https"));
    if !scheme || endpoint.host().is_none_or(str::is_empty) {
        let fix = "write http://HOST:PORT or https://HOST:PORT";
        return Err(wrong(endpoint.to_string(), fix));
    }
    Ok(())
}

fn read_tls(connection: &Connection, http: Http) -> Result<Option<Arc<ClientConfig>>, ClientError> {
    if !is_tls(&connection.endpoint) {
        return Ok(None);
    }
    let protocols: &[&[u8]] = match http {
        Http::Any => &[b"h2", b"http/1.1"],
        Http::Two => &[b"h2"],
    };
    tls::client_config(&connection.tls, protocols).map(|config| Some(Arc::new(config)))
}

fn client(
    connection: &Connection,
    http: Http,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Client<Connector, Body>, ClientError> {
    let endpoint = &connection.endpoint;
    let host = endpoint.host().unwrap_or("");
    // An IPv6 address has brackets in an address of HTTP only.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = connection.tls.server_name.as_deref().unwrap_or(host);
    let tls = match tls {
        None => None,
        Some(config) => {
            let name =
                ServerName::try_from(name.to_owned()).map_err(|error| ClientError::Endpoint {
                    endpoint: endpoint.to_string(),
                    message: format!("{name}: {error}"),
                })?;
            Some((config, name))
        }
    };
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http2_only(http == Http::Two)
        .http1_max_buf_size(MAX_HEADERS)
        .http2_max_header_list_size(MAX_HEADERS as u32)
        .build(Connector::new(connection.timeout, tls));
    Ok(client)
}

async fn exchange(
    client: &Client<Connector, Body>,
    request: Request<Body>,
) -> Result<Answer, Failure> {
    let response = client.request(request).await;
    let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| broken(&*error))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let received = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(Answer {
        received: UnixTime(received.unwrap_or_default().as_nanos() as u64),
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
        trailers,
    })
}

/// The error and what caused it, each said once.
fn broken(error: &(dyn Error + 'static)) -> Failure {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    Failure(message)
}
