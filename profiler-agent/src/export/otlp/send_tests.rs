//! The client against a gRPC server in this process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use prost::Message;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use super::{Client, Config, endpoint};
use crate::export::otlp::{Options, encode, encode_one};
use crate::profile::example::example;
use crate::profile::{Delivery, Destination, Payload, UnixTime, WindowUuid};

/// Stores what came; rejects one profile of each request that says so in its metadata.
#[derive(Clone, Default)]
struct Store {
    requests: Arc<Mutex<Vec<(MetadataMap, ExportProfilesServiceRequest)>>>,
    answers_after: Duration,
}

#[tonic::async_trait]
impl ProfilesService for Store {
    async fn export(
        &self,
        request: Request<ExportProfilesServiceRequest>,
    ) -> Result<Response<ExportProfilesServiceResponse>, Status> {
        tokio::time::sleep(self.answers_after).await;
        let (metadata, _, message) = request.into_parts();
        let rejects = metadata.contains_key("x-reject");
        self.requests.lock().unwrap().push((metadata, message));
        let partial = ExportProfilesPartialSuccess {
            rejected_profiles: 1,
            error_message: "too old".into(),
        };
        Ok(Response::new(ExportProfilesServiceResponse {
            partial_success: rejects.then_some(partial),
        }))
    }
}

impl Store {
    fn service(&self) -> ProfilesServiceServer<Self> {
        ProfilesServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }
    fn only_request(&self) -> (MetadataMap, ExportProfilesServiceRequest) {
        let mut requests = self.requests.lock().unwrap();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

async fn listen() -> (SocketAddr, TcpIncoming) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), TcpIncoming::from(listener))
}

async fn serve(store: &Store) -> SocketAddr {
    let (address, incoming) = listen().await;
    let server = Server::builder().add_service(store.service());
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

fn config(variables: &[(&str, &str)]) -> Config {
    let read = |name: &str| {
        let (_, value) = variables
            .iter()
            .find(|(variable, _)| name.strip_prefix("OTEL_EXPORTER_OTLP_") == Some(variable))?;
        Some((*value).to_owned())
    };
    Config::from_environment(read).unwrap().unwrap()
}

async fn send(variables: &[(&str, &str)], payload: &Payload) -> Delivery {
    let client = Client::new(config(variables)).unwrap();
    client.send(Arc::new(payload.clone())).await
}

fn payload() -> Payload {
    encode_one(&example(), &Options::default())
}

fn message(payload: &Payload) -> ExportProfilesServiceRequest {
    ExportProfilesServiceRequest::decode(payload.bytes.as_slice()).unwrap()
}

#[tokio::test]
async fn what_arrives_is_what_was_encoded() {
    let store = Store::default();
    let url = format!("http://{}", serve(&store).await);
    let headers = ("HEADERS", "authorization=Basic%20eA==,x-scope-orgid=tenant");
    let delivery = send(&[("ENDPOINT", &url), headers], &payload()).await;
    assert_eq!(delivery, Delivery::Accepted);
    let (metadata, request) = store.only_request();
    assert_eq!(request, message(&payload()));
    assert_eq!(metadata.get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(metadata.get("authorization").unwrap(), "Basic eA==");
    assert_eq!(metadata.get("x-scope-orgid").unwrap(), "tenant");
    let agent = metadata.get("user-agent").unwrap().to_str().unwrap();
    assert!(agent.starts_with("profiler-agent/"), "{agent}");
}

#[tokio::test]
async fn compression_can_be_off() {
    let store = Store::default();
    let url = format!("http://{}", serve(&store).await);
    let delivery = send(&[("ENDPOINT", &url), ("COMPRESSION", "none")], &payload()).await;
    assert_eq!(delivery, Delivery::Accepted);
    let (metadata, request) = store.only_request();
    assert_eq!(request, message(&payload()));
    assert!(metadata.get("grpc-encoding").is_none());
}

#[tokio::test]
async fn a_partly_rejected_payload_says_so() {
    let store = Store::default();
    let url = format!("http://{}", serve(&store).await);
    let delivery = send(&[("ENDPOINT", &url), ("HEADERS", "x-reject=1")], &payload()).await;
    let expected = Delivery::PartlyRejected {
        profiles: 1,
        message: "too old".into(),
    };
    assert_eq!(delivery, expected);
}

#[tokio::test]
async fn a_receiver_without_profiles_is_refused_with_the_fix() {
    let (address, incoming) = listen().await;
    let server = Server::builder().add_routes(tonic::service::Routes::default());
    tokio::spawn(server.serve_with_incoming(incoming));
    let delivery = send(&[("ENDPOINT", &format!("http://{address}"))], &payload()).await;
    let Delivery::Refused { message } = delivery else {
        panic!("{delivery:?}");
    };
    assert!(message.contains("service.profilesSupport"), "{message}");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let (address, incoming) = listen().await;
    drop(incoming);
    let delivery = send(&[("ENDPOINT", &format!("http://{address}"))], &payload()).await;
    let Delivery::Retry { after, message } = delivery else {
        panic!("{delivery:?}");
    };
    assert_eq!(after, None);
    assert!(message.contains("refused"), "{message}");
}

#[tokio::test]
async fn a_receiver_that_breaks_the_connection_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut some = [0; 100];
            let _ = stream.readable().await;
            let _ = stream.try_read(&mut some);
        }
    });
    let delivery = send(&[("ENDPOINT", &format!("http://{address}"))], &payload()).await;
    assert!(matches!(delivery, Delivery::Retry { .. }), "{delivery:?}");
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_tried_again() {
    let store = Store {
        answers_after: Duration::from_secs(3_600),
        ..Store::default()
    };
    let url = format!("http://{}", serve(&store).await);
    let delivery = send(&[("ENDPOINT", &url), ("TIMEOUT", "50")], &payload()).await;
    assert!(matches!(delivery, Delivery::Retry { .. }), "{delivery:?}");
}

fn openssl(directory: &Path, arguments: &str) {
    let status = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

#[tokio::test]
async fn tls_by_a_certificate_of_ones_own_and_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("san"), "subjectAltName=IP:127.0.0.1").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(
        directory.path(),
        &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
    );
    for name in ["server", "client"] {
        let request = format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}");
        openssl(directory.path(), &request);
        openssl(
            directory.path(),
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                 -out {name}.pem -days 2 -extfile san"
            ),
        );
    }
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("server.pem"), read("server.key")))
        .client_ca_root(Certificate::from_pem(read("ca.pem")));
    let store = Store::default();
    let (address, incoming) = listen().await;
    let mut server = Server::builder().tls_config(tls).unwrap();
    let server = server.add_service(store.service());
    tokio::spawn(server.serve_with_incoming(incoming));

    let file = |name: &str| path(name).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let url = format!("https://{address}");
    let all = [
        ("ENDPOINT", url.as_str()),
        ("CERTIFICATE", &ca),
        ("CLIENT_CERTIFICATE", &certificate),
        ("CLIENT_KEY", &key),
    ];
    assert_eq!(send(&all, &payload()).await, Delivery::Accepted);
    assert_eq!(store.only_request().1, message(&payload()));
    // A receiver whose certificate nobody vouches for gets nothing.
    let without = send(&all[..1], &payload()).await;
    assert!(matches!(without, Delivery::Retry { .. }), "{without:?}");
    // Nor does one that wants to know who we are.
    let anonymous = send(&all[..2], &payload()).await;
    assert!(!matches!(anonymous, Delivery::Accepted), "{anonymous:?}");
    assert!(store.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_missing_certificate_file_is_named() {
    let missing = ("CERTIFICATE", "/nowhere/ca.pem");
    let error = Client::new(config(&[("ENDPOINT", "https://localhost:1"), missing])).unwrap_err();
    assert!(
        error.to_string().starts_with("read /nowhere/ca.pem: "),
        "{error}"
    );
}

/// A receiver that starts 30 s after the first window: in paused time, over streams in memory.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_receiver_starts_late() {
    let (connections, accepted) = mpsc::unbounded_channel::<DuplexStream>();
    let start = tokio::time::Instant::now();
    let connector = tower::service_fn(move |_| {
        let connections = connections.clone();
        async move {
            if start.elapsed() < Duration::from_secs(30) {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            connections.send(theirs).map_err(io::Error::other)?;
            Ok(TokioIo::new(ours))
        }
    });
    let store = Store::default();
    let incoming = futures(accepted);
    let server = Server::builder().add_service(store.service());
    tokio::spawn(server.serve_with_incoming(incoming));

    let config = config(&[("ENDPOINT", "http://late:4317")]);
    let channel = endpoint(&config)
        .unwrap()
        .connect_with_connector_lazy(connector);
    let client = Client::over(channel, config);
    let mut sent = Vec::new();
    let mut retries = 0;
    for window in 0..6 {
        let mut profile = example();
        profile.start = UnixTime(profile.start.0 + window);
        let window = WindowUuid::new(profile.start, 1);
        for payload in encode(&profile, window, &Options::default()) {
            sent.push(message(&payload));
            let payload = Arc::new(payload);
            while let Delivery::Retry { .. } = client.send(Arc::clone(&payload)).await {
                retries += 1;
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert!(retries >= 2, "{retries}");
    let requests = store.requests.lock().unwrap();
    let received: Vec<_> = requests
        .iter()
        .map(|(_, request)| request.clone())
        .collect();
    assert_eq!(received, sent);
}

/// The streams that a channel brings, as a server takes them.
fn futures(
    accepted: mpsc::UnboundedReceiver<DuplexStream>,
) -> impl tokio_stream::Stream<Item = io::Result<DuplexStream>> {
    use tokio_stream::StreamExt;
    tokio_stream::wrappers::UnboundedReceiverStream::new(accepted).map(Ok)
}
