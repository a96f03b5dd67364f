//! Are the files of a connection what they should be? Asked without a connection.

use std::path::Path;

use http::HeaderName;
use rustls::RootCertStore;

use super::{ClientError, HeaderSource, header, tls};

/// Can the file's content be sent as a header?
///
/// # Errors
/// [`ClientError`].
pub fn header(path: &Path) -> Result<(), ClientError> {
    let source = HeaderSource::File(path.to_owned());
    let name = HeaderName::from_static("header");
    header::values(&[(name, source)]).map(drop)
}

/// Does the file hold certificates of authorities?
///
/// # Errors
/// [`ClientError`].
pub fn authorities(path: &Path) -> Result<(), ClientError> {
    tls::roots_in(path).map(drop)
}

/// Do the files hold a certificate and its key?
///
/// # Errors
/// [`ClientError`], and whether the key's file is the one that is wrong.
pub fn identity(certificate: &Path, key: &Path) -> Result<(), (bool, ClientError)> {
    let chain = tls::certificates(certificate).map_err(|error| (false, error))?;
    tls::with_identity(RootCertStore::empty(), chain, certificate, key)
        .map(drop)
        .map_err(|error| (true, error))
}
