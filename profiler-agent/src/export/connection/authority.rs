//! A certificate authority and a TLS server before another server, for tests: both made by others, openssl and
//! the operating system's sockets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Signs certificates for 127.0.0.1, in files of its own.
pub(in crate::export) struct Authority {
    directory: TempDir,
}

impl Authority {
    pub(in crate::export) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("san"), "subjectAltName=IP:127.0.0.1").unwrap();
        let new = Self { directory };
        new.openssl(&format!(
            "req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"
        ));
        new
    }

    /// Makes `name.pem` and `name.key`.
    pub(in crate::export) fn issue(&self, name: &str) {
        self.openssl(&format!(
            "req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {name}.pem \
             -days 2 -extfile san"
        ));
    }

    pub(in crate::export) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// What a TLS server saw of a connection.
#[derive(Clone, Debug)]
pub(in crate::export) struct Seen {
    pub(in crate::export) version: Option<rustls::ProtocolVersion>,
    pub(in crate::export) group: Option<NamedGroup>,
    /// The client's certificate.
    pub(in crate::export) client: Option<CertificateDer<'static>>,
}

/// A TLS server that hands what it decrypts to the server at `behind`.
pub(in crate::export) struct Front {
    pub(in crate::export) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// How a [`Front`] behaves.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct FrontOptions {
    pub(in crate::export) wants_client: bool,
    pub(in crate::export) protocol: &'static [u8],
    pub(in crate::export) version: &'static SupportedProtocolVersion,
}

impl Front {
    /// Shows `server.pem` of the authority.
    pub(in crate::export) async fn start(
        authority: &Authority,
        behind: SocketAddr,
        options: FrontOptions,
    ) -> Self {
        authority.issue("server");
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        // The library's own defaults: the client's choice is put to the test, not the server's.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[options.version])
            .unwrap();
        let builder = if options.wants_client {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let certificate = CertificateDer::from_pem_file(authority.path("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(authority.path("server.key")).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![options.protocol.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    // A client that is refused, or refuses, is what some tests are about.
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let connection = stream.get_ref().1;
                    log.lock().unwrap().push(Seen {
                        version: connection.protocol_version(),
                        group: connection
                            .negotiated_key_exchange_group()
                            .map(rustls::crypto::SupportedKxGroup::name),
                        client: connection
                            .peer_certificates()
                            .map(|chain| chain[0].clone().into_owned()),
                    });
                    let mut behind = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
                });
            }
        });
        Self { address, seen }
    }

    pub(in crate::export) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}
