//! The client against a gRPC server in this process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use prost::Message;
use rustls::NamedGroup;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{Client, Config};
use crate::export::connection::authority::{Authority, Front, FrontOptions};
use crate::export::connection::{Connection, connector};
use crate::export::otlp::check::check;
use crate::export::otlp::{Options, encode_one};
use crate::profile::example::example;
use crate::profile::{Coding, Delivery, Destination, Payload};

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
        ProfilesServiceServer::new(self.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
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
    Config::from_environment(read).unwrap().unwrap().config
}

async fn send(variables: &[(&str, &str)], payload: &Payload) -> Delivery {
    let client = Client::new(config(variables)).unwrap();
    client.send(Arc::new(payload.clone())).await
}

fn coded(coding: Coding) -> Payload {
    let options = Options {
        coding,
        ..Options::default()
    };
    encode_one(&example(), &options)
}

fn payload() -> Payload {
    coded(Coding::Gzip)
}

/// What [`payload`] holds.
fn message() -> ExportProfilesServiceRequest {
    let plain = coded(Coding::Identity);
    let request = ExportProfilesServiceRequest::decode(plain.bytes.as_slice()).unwrap();
    check(&request);
    request
}

#[tokio::test]
async fn what_arrives_is_what_was_encoded() {
    let store = Store::default();
    let url = format!("http://{}", serve(&store).await);
    let headers = ("HEADERS", "authorization=Basic%20eA==,x-scope-orgid=tenant");
    let delivery = send(&[("ENDPOINT", &url), headers], &payload()).await;
    assert_eq!(delivery, Delivery::Accepted);
    let (metadata, request) = store.only_request();
    assert_eq!(request, message());
    assert_eq!(metadata.get("grpc-encoding").unwrap(), "gzip");
    assert_eq!(metadata.get("authorization").unwrap(), "Basic eA==");
    assert_eq!(metadata.get("x-scope-orgid").unwrap(), "tenant");
    let agent = metadata.get("user-agent").unwrap().to_str().unwrap();
    assert!(agent.starts_with("profiler-agent/"), "{agent}");
}

/// As tonic and its own decompressors read it.
#[tokio::test]
async fn each_coding_arrives() {
    for (coding, name) in [
        (Coding::Identity, None),
        (Coding::Gzip, Some("gzip")),
        (Coding::Zstd, Some("zstd")),
    ] {
        let store = Store::default();
        let url = format!("http://{}", serve(&store).await);
        let delivery = send(&[("ENDPOINT", &url)], &coded(coding)).await;
        assert_eq!(delivery, Delivery::Accepted, "{coding:?}");
        let (metadata, request) = store.only_request();
        assert_eq!(request, message());
        let encoding = metadata.get("grpc-encoding");
        assert_eq!(encoding.map(|name| name.to_str().unwrap()), name);
    }
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

const FRONT: FrontOptions = FrontOptions {
    wants_client: true,
    protocol: b"h2",
    version: &rustls::version::TLS13,
};

#[tokio::test]
async fn tls_by_a_certificate_of_ones_own_and_both_ways() {
    let authority = Authority::new();
    let store = Store::default();
    let front = Front::start(&authority, serve(&store).await, FRONT).await;
    authority.issue("client");
    let file = |name: &str| authority.path(name).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let url = format!("https://{}", front.address);
    let all = [
        ("ENDPOINT", url.as_str()),
        ("CERTIFICATE", &ca),
        ("CLIENT_CERTIFICATE", &certificate),
        ("CLIENT_KEY", &key),
    ];
    assert_eq!(send(&all, &payload()).await, Delivery::Accepted);
    assert_eq!(store.only_request().1, message());
    let [seen] = front.seen().try_into().unwrap();
    assert_eq!(seen.group, Some(NamedGroup::X25519MLKEM768));
    // A receiver whose certificate nobody vouches for gets nothing.
    let without = send(&all[..1], &payload()).await;
    assert!(matches!(without, Delivery::Retry { .. }), "{without:?}");
    // Nor does one that wants to know who we are.
    let anonymous = send(&all[..2], &payload()).await;
    assert!(matches!(anonymous, Delivery::Retry { .. }), "{anonymous:?}");
    assert!(store.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_missing_certificate_file_is_named() {
    let missing = ("CERTIFICATE", "/nowhere/ca.pem");
    let config = config(&[("ENDPOINT", "https://localhost:1"), missing]);
    let error = Client::new(config).err().unwrap();
    assert!(
        error.to_string().starts_with("read /nowhere/ca.pem: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_library_of_the_field_goes_through_the_same_tls() {
    use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_client::ProfilesServiceClient;

    let (store, authority) = (Store::default(), Authority::new());
    let options = FrontOptions {
        wants_client: true,
        protocol: b"h2",
        version: &rustls::version::TLS13,
    };
    let front = Front::start(&authority, serve(&store).await, options).await;
    authority.issue("client");
    let endpoint: http::Uri = format!("https://{}", front.address).parse().unwrap();
    let mut connection = Connection::new(endpoint.clone());
    connection.tls.ca = Some(authority.path("ca.pem"));
    let request = ExportProfilesServiceRequest::default;
    let channel = |connection: &Connection| {
        let connector = connector(connection).unwrap();
        tonic::transport::Endpoint::from(endpoint.clone()).connect_with_connector_lazy(connector)
    };
    // The receiver wants to know who it is.
    let unknown = ProfilesServiceClient::new(channel(&connection))
        .export(request())
        .await;
    assert!(unknown.is_err());
    let identity = (authority.path("client.pem"), authority.path("client.key"));
    connection.tls.identity = Some(identity);
    let mut known = ProfilesServiceClient::new(channel(&connection));
    known.export(request()).await.unwrap();
    assert_eq!(store.only_request().1, request());
}
