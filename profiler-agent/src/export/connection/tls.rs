//! What is offered and trusted in TLS.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::{ClientError, TlsFiles, files};

/// The cryptography of every connection: the hybrid key exchange is offered, and offered first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// Reads the files. `protocols` are offered to the receiver in this order (ALPN).
pub(super) fn client_config(
    tls: &TlsFiles,
    protocols: &[&[u8]],
) -> Result<ClientConfig, ClientError> {
    let roots = match &tls.ca {
        Some(path) => roots_in(path)?,
        None => native_roots()?,
    };
    let mut config = match &tls.identity {
        None => builder(roots).with_no_client_auth(),
        Some((certificate, key)) => {
            with_identity(roots, certificates(certificate)?, certificate, key)?
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn builder(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_root_certificates(roots)
}

/// Shows the `chain`, which was read from `certificate`; fails where `key` holds no key or that of another certificate.
pub(super) fn with_identity(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    certificate: &Path,
    key: &Path,
) -> Result<ClientConfig, ClientError> {
    let wrong = |message: String| ClientError::Content {
        path: key.to_owned(),
        message,
    };
    let private = PrivateKeyDer::from_pem_slice(&files::read(key)?)
        .map_err(|error| wrong(format!("no private key in PEM: {error}")))?;
    builder(roots)
        .with_client_auth_cert(chain, private)
        .map_err(|error| wrong(format!("with {}: {error}", certificate.display())))
}

/// The certificates in a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let wrong = |message: String| ClientError::Content {
        path: path.to_owned(),
        message,
    };
    let content = files::read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("no certificates in PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

pub(super) fn roots_in(path: &Path) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| ClientError::Content {
                path: path.to_owned(),
                message: error.to_string(),
            })?;
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems hold certificates that no verifier of today understands: they vouch for nobody.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(ClientError::NoRoots(match errors.as_slice() {
            [] => "there are none".to_owned(),
            errors => errors.join(", "),
        }));
    }
    Ok(roots)
}
