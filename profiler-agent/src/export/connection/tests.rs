//! The transport against servers of this process: what they get, and what of theirs is survived.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName};
use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::authority::{Authority, Front, FrontOptions};
use super::{
    Answer, Body, ClientError, Connection, Failure, HeaderSource, Http, Secret, TlsFiles, Transport,
};
use crate::profile::{Coding, Payload, PayloadId, UnixTime, WindowUuid};

const FRONT: FrontOptions = FrontOptions {
    wants_client: true,
    protocol: b"http/1.1",
    version: &rustls::version::TLS13,
};

fn body() -> Body {
    Body::new(Arc::new(Payload {
        id: PayloadId {
            window: WindowUuid::new(UnixTime(1), 1),
            part: 0,
        },
        start: UnixTime(1),
        end: UnixTime(2),
        samples: 1,
        coding: Coding::Identity,
        raw_length: 4,
        bytes: b"body".to_vec(),
    }))
}

fn connection(scheme: &str, address: SocketAddr) -> Connection {
    Connection::new(format!("{scheme}://{address}").parse().unwrap())
}

async fn post(transport: &Transport) -> Result<Answer, Failure> {
    let path = PathAndQuery::from_static("/in");
    transport.post(path, HeaderMap::new(), body()).await
}

/// Answers each request with its `x-token` header, whatever else it is.
async fn echo() -> SocketAddr {
    let answer = |headers: HeaderMap| async move {
        let token = headers.get("x-token");
        token.map_or_else(String::new, |token| token.to_str().unwrap().to_owned())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Sends every client these bytes, reads nothing, and closes.
async fn says(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // What is closed with unread bytes is reset: the request is read first.
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&bytes).await;
        }
    });
    address
}

fn mutual(authority: &Authority, address: SocketAddr) -> Connection {
    Connection {
        tls: TlsFiles {
            ca: Some(authority.path("ca.pem")),
            identity: Some((authority.path("client.pem"), authority.path("client.key"))),
            server_name: None,
        },
        ..connection("https", address)
    }
}

/// Posts until what `done` says of the answers holds.
async fn until(transport: &Transport, done: impl Fn(&Result<Answer, Failure>) -> bool) {
    let start = Instant::now();
    loop {
        let answer = post(transport).await;
        if done(&answer) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_key_exchange_is_the_hybrid_and_both_show_who_they_are() {
    let authority = Authority::new();
    let front = Front::start(&authority, echo().await, FRONT).await;
    authority.issue("client");
    let transport = Transport::new(mutual(&authority, front.address), Http::Any).unwrap();
    assert_eq!(post(&transport).await.unwrap().status, 200);
    let [seen] = front.seen().try_into().unwrap();
    assert_eq!(seen.version, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(seen.group, Some(NamedGroup::X25519MLKEM768));
    let ours = CertificateDer::from_pem_file(authority.path("client.pem")).unwrap();
    assert_eq!(seen.client, Some(ours));
}

#[tokio::test]
async fn who_nobody_vouches_for_gets_nothing() {
    let authority = Authority::new();
    let front = Front::start(&authority, echo().await, FRONT).await;
    authority.issue("client");
    let other = Authority::new();
    let mut connection = mutual(&authority, front.address);
    connection.tls.ca = Some(other.path("ca.pem"));
    let transport = Transport::new(connection.clone(), Http::Any).unwrap();
    let Failure(message) = post(&transport).await.unwrap_err();
    assert!(message.contains("certificate"), "{message}");
    // Not even with the right signature, under another name.
    connection.tls.ca = Some(authority.path("ca.pem"));
    connection.tls.server_name = Some("receiver.example".into());
    let transport = Transport::new(connection.clone(), Http::Any).unwrap();
    let Failure(message) = post(&transport).await.unwrap_err();
    assert!(message.contains("receiver.example"), "{message}");
    // Nor do we, without saying who we are.
    connection.tls.server_name = None;
    connection.tls.identity = None;
    let transport = Transport::new(connection, Http::Any).unwrap();
    let Failure(message) = post(&transport).await.unwrap_err();
    assert!(message.to_lowercase().contains("certificate"), "{message}");
    assert!(front.seen().is_empty());
}

/// A receiver of before 1.3 is refused: what is sent to it could be read one day.
#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let directory = Authority::new();
    directory.issue("server");
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut server = std::process::Command::new("openssl")
        .args(["s_server", "-tls1_2", "-quiet", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-cert")
        .arg(directory.path("server.pem"))
        .arg("-key")
        .arg(directory.path("server.key"))
        .spawn()
        .unwrap();
    let mut connection = connection("https", SocketAddr::from(([127, 0, 0, 1], port)));
    connection.tls.ca = Some(directory.path("ca.pem"));
    let transport = Transport::new(connection, Http::Any).unwrap();
    until(&transport, |answer| {
        let Err(Failure(message)) = answer else {
            panic!("{answer:?}");
        };
        message.contains("ProtocolVersion")
    })
    .await;
    server.kill().unwrap();
    server.wait().unwrap();
}

#[tokio::test]
async fn certificates_are_read_again_when_they_change() {
    let authority = Authority::new();
    let front = Front::start(&authority, echo().await, FRONT).await;
    authority.issue("client");
    let transport = Transport::new(mutual(&authority, front.address), Http::Any).unwrap();
    assert!(post(&transport).await.is_ok());
    let shown = |name: &str| CertificateDer::from_pem_file(authority.path(name)).unwrap();
    let first = shown("client.pem");
    assert_eq!(front.seen().last().unwrap().client, Some(first.clone()));
    // What makes no sense is passed over: the old one is still good, over the old connection.
    let key = std::fs::read(authority.path("client.key")).unwrap();
    std::fs::write(authority.path("client.key"), "-----BEGIN").unwrap();
    let changed = Instant::now();
    while changed.elapsed() < 2 * Duration::from_secs(1) {
        assert!(post(&transport).await.is_ok());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(front.seen().len(), 1);
    std::fs::write(authority.path("client.key"), key).unwrap();
    // A new one is shown, over a new connection.
    authority.issue("client");
    let second = shown("client.pem");
    assert_ne!(first, second);
    until(&transport, |answer| {
        assert!(answer.is_ok(), "{answer:?}");
        front.seen().last().unwrap().client.as_ref() == Some(&second)
    })
    .await;
}

#[tokio::test]
async fn a_header_is_read_again_when_its_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let mut connection = connection("http", echo().await);
    let name = HeaderName::from_static("x-token");
    connection.headers = vec![(name, HeaderSource::File(path.clone()))];
    let transport = Transport::new(connection, Http::Any).unwrap();
    let body = post(&transport).await.unwrap().body;
    assert_eq!(body, "first", "without white space");
    std::fs::write(&path, "second").unwrap();
    let says = |text: &'static str| {
        move |answer: &Result<Answer, Failure>| answer.as_ref().unwrap().body == text
    };
    until(&transport, says("second")).await;
    // Two lines are no header: what was read before stays.
    std::fs::write(&path, "third\nline").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let changed = Instant::now();
    while changed.elapsed() < 2 * Duration::from_secs(1) {
        assert_eq!(post(&transport).await.unwrap().body, "second");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(&path, "fourth").unwrap();
    until(&transport, says("fourth")).await;
}

#[tokio::test]
async fn a_connection_is_made_again_when_it_breaks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let transport = Transport::new(connection("http", address), Http::Any).unwrap();
    let Failure(message) = post(&transport).await.unwrap_err();
    assert!(message.contains("refused"), "{message}");
    let listener = TcpListener::bind(address).await.unwrap();
    let router = axum::Router::new().fallback(|| async { "here" });
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(post(&transport).await.unwrap().body, "here");
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_cut() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(8 << 20, b'x');
    let transport = Transport::new(connection("http", says(endless).await), Http::Any).unwrap();
    let Failure(message) = post(&transport).await.unwrap_err();
    assert!(message.contains("length limit"), "{message}");
    let mut headers = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    headers.resize(8 << 20, b'x');
    let transport = Transport::new(connection("http", says(headers).await), Http::Any).unwrap();
    assert!(post(&transport).await.is_err());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for http in [Http::Any, Http::Two] {
        let mut connection = connection("http", listener.local_addr().unwrap());
        connection.timeout = Duration::from_millis(50);
        let transport = Transport::new(connection, http).unwrap();
        let Failure(message) = post(&transport).await.unwrap_err();
        assert_eq!(message, "no answer within 50ms");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn garbage_is_survived(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = says([start.as_bytes(), &garbage].concat()).await;
            for http in [Http::Any, Http::Two] {
                let mut connection = connection("http", address);
                connection.timeout = Duration::from_secs(5);
                let transport = Transport::new(connection, http).unwrap();
                if let Ok(answer) = post(&transport).await {
                    assert!(http == Http::Any && answer.body.len() <= 64 << 10);
                }
            }
        });
    }
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let error = |change: fn(&mut Connection), endpoint: &str| {
        let mut connection = Connection::new(endpoint.parse().unwrap());
        change(&mut connection);
        match Transport::new(connection, Http::Any) {
            Ok(_) => panic!("{endpoint} works"),
            Err(error) => error.to_string(),
        }
    };
    let nothing = |_: &mut Connection| {};
    assert!(error(nothing, "ftp://host").contains("write http://HOST:PORT"));
    assert!(error(nothing, "/path").contains("write http://HOST:PORT"));
    let credentials = error(nothing, "http://user:secret@host");
    assert!(credentials.contains("authorization") && !credentials.contains("secret"));
    let header = |connection: &mut Connection| {
        let value = HeaderSource::Value(Secret::new("secret\n"));
        connection.headers = vec![(HeaderName::from_static("x-token"), value)];
    };
    let header = error(header, "http://host");
    assert_eq!(
        header,
        "header x-token: its value is not visible ASCII text"
    );
    let missing = |connection: &mut Connection| {
        connection.tls.ca = Some("/nowhere/ca.pem".into());
    };
    assert!(error(missing, "https://host").starts_with("read /nowhere/ca.pem: "));
    // Any file that is no certificate.
    let other = |connection: &mut Connection| connection.tls.ca = Some("/proc/version".into());
    assert!(error(other, "https://host").contains("there is no certificate in it"));
    let endless = |connection: &mut Connection| connection.tls.ca = Some("/dev/zero".into());
    assert!(error(endless, "https://host").contains("not a regular file"));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let authority = Authority::new();
    authority.issue("one");
    authority.issue("two");
    let mut connection = Connection::new("https://127.0.0.1:1".parse().unwrap());
    connection.tls.ca = Some(authority.path("ca.pem"));
    connection.tls.identity = Some((authority.path("one.pem"), authority.path("two.key")));
    let error = Transport::new(connection, Http::Two).err().unwrap();
    assert!(matches!(error, ClientError::Content { .. }), "{error}");
    assert!(error.to_string().contains("two.key"), "{error}");
}
