//! The client against HTTP servers of this process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::Message;
use tokio::net::TcpListener;

use super::{Client, Config};
use crate::export::connection::authority::{Authority, Front, FrontOptions};
use crate::export::otlp::check::check;
use crate::export::otlp::{Options, Protocol, encode_one};
use crate::profile::example::example;
use crate::profile::{Coding, Delivery, Destination, Payload};

/// A request, as it came.
#[derive(Clone, Debug)]
struct Came {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

type Log = Arc<Mutex<Vec<Came>>>;

/// Answers everything in this way.
async fn serve(status: StatusCode, answer: &'static [u8]) -> (SocketAddr, Log) {
    let log = Log::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::clone(&log);
    let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        seen.lock().unwrap().push(Came {
            method,
            uri,
            headers,
            body,
        });
        let content_type = [("content-type", "application/x-protobuf")];
        (status, content_type, answer)
    };
    let router = axum::Router::new().fallback(handler);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, log)
}

fn coded(coding: Coding) -> Payload {
    let options = Options {
        coding,
        ..Options::default()
    };
    encode_one(&example(), &options)
}

fn config(endpoint: &str) -> Config {
    Config {
        protocol: Protocol::Http,
        ..Config::new(endpoint.parse().unwrap())
    }
}

async fn send(config: Config, coding: Coding) -> Delivery {
    let client = Client::new(config).unwrap();
    client.send(Arc::new(coded(coding))).await
}

/// What a body holds, by decompressors that are not those it was made with.
fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let program = match coding {
        "gzip" => "gzip",
        "zstd" => "zstd",
        _ => return body.to_vec(),
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("body");
    std::fs::write(&path, body).unwrap();
    let output = std::process::Command::new(program)
        .arg("-dc")
        .stdin(std::fs::File::open(path).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[tokio::test]
async fn each_coding_arrives() {
    for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
        let (address, log) = serve(StatusCode::OK, b"").await;
        let delivery = send(config(&format!("http://{address}/otlp/")), coding).await;
        assert_eq!(delivery, Delivery::Accepted);
        let [came] = log.lock().unwrap().clone().try_into().unwrap();
        assert_eq!(came.method, Method::POST);
        assert_eq!(came.uri.path(), "/otlp/v1development/profiles");
        // Pyroscope compares it to the letter.
        assert_eq!(came.headers["content-type"], "application/x-protobuf");
        let name = came.headers.get("content-encoding");
        let name = name.map_or("", |name| name.to_str().unwrap());
        assert_eq!(name, coding.name().unwrap_or(""));
        let raw = decoded(name, &came.body);
        assert_eq!(raw, coded(Coding::Identity).bytes);
        assert_eq!(raw.len() as u64, coded(coding).raw_length);
        check(&ExportProfilesServiceRequest::decode(raw.as_slice()).unwrap());
        let length: usize = came.headers["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(length, came.body.len());
        assert!(
            came.headers["user-agent"]
                .to_str()
                .unwrap()
                .starts_with("profiler-agent/")
        );
    }
}

#[tokio::test]
async fn an_endpoint_of_profiles_is_used_as_it_is() {
    let (address, log) = serve(StatusCode::OK, b"").await;
    let config = Config {
        whole_endpoint: true,
        ..config(&format!("http://{address}/ingest?x=1"))
    };
    assert_eq!(send(config, Coding::Gzip).await, Delivery::Accepted);
    assert_eq!(log.lock().unwrap()[0].uri, "/ingest?x=1");
}

#[tokio::test]
async fn tls_agrees_on_the_version_of_http() {
    for (protocol, version) in [(&b"h2"[..], "h2"), (b"http/1.1", "http/1.1")] {
        let authority = Authority::new();
        let (behind, log) = serve(StatusCode::OK, b"").await;
        let options = FrontOptions {
            wants_client: false,
            protocol,
            version: &rustls::version::TLS13,
        };
        let front = Front::start(&authority, behind, options).await;
        let mut config = config(&format!("https://{}", front.address));
        config.connection.tls.ca = Some(authority.path("ca.pem"));
        assert_eq!(send(config, Coding::Gzip).await, Delivery::Accepted);
        let came = log.lock().unwrap()[0].clone();
        // Over HTTP/2 the authority is part of the address, over 1.1 it is a header.
        assert_eq!(came.uri.authority().is_some(), version == "h2");
    }
}

#[tokio::test]
async fn a_receiver_without_profiles_is_refused_with_the_fix() {
    let (address, _) = serve(StatusCode::NOT_FOUND, b"").await;
    let delivery = send(config(&format!("http://{address}")), Coding::Gzip).await;
    let Delivery::Refused { message } = delivery else {
        panic!("{delivery:?}");
    };
    assert!(message.contains("service.profilesSupport"), "{message}");
}

#[tokio::test]
async fn a_partly_rejected_payload_says_so() {
    let (address, _) = serve(StatusCode::OK, &[0x0a, 5, 0x08, 2, 0x12, 1, b'x']).await;
    let delivery = send(config(&format!("http://{address}")), Coding::Zstd).await;
    let expected = Delivery::PartlyRejected {
        profiles: 2,
        message: "x".into(),
    };
    assert_eq!(delivery, expected);
}
