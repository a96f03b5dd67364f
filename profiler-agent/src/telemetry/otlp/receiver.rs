//! Where signals go.

use crate::profile::endpoint::has_usable_port;
use std::fmt::{self, Display, Formatter};

use http::Uri;

/// The address of an OTLP receiver over gRPC: scheme (`http` or `https`), host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver(Uri);

/// A text that is no address of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fix}: write http://HOST:4317 or https://HOST:4317, the receiver's gRPC port")]
pub struct ReceiverError {
    fix: &'static str,
}

impl Receiver {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it. The text, which may hold a password, is not repeated.
    pub fn parse(text: &str) -> Result<Self, ReceiverError> {
        let wrong = |fix| ReceiverError { fix };
        let uri: Uri = text.parse().map_err(|_| wrong("this is no address"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("there is no http:// or https:// before it"));
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.host().unwrap_or_default().is_empty() {
            return Err(wrong("there is no host in it"));
        }
        if authority.contains('@') {
            return Err(wrong("credentials go into OTEL_EXPORTER_OTLP_HEADERS"));
        }
        if !has_usable_port(authority) {
            return Err(wrong("its port is no number from 1 to 65535"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("gRPC has no path"));
        }
        Ok(Self(uri))
    }

    /// The address.
    #[must_use]
    pub fn uri(&self) -> Uri {
        self.0.clone()
    }
}

impl Display for Receiver {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::Receiver;

    #[test]
    fn an_address_has_scheme_host_and_port_and_no_secret() {
        for right in [
            "http://localhost:4317",
            "https://otel.example",
            "http://[::1]:4317/",
        ] {
            assert!(Receiver::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "localhost:4317",
            "ftp://localhost:4317",
            "http://",
            "http://localhost:4318/v1/traces",
            "http://localhost:4317?x",
            "http://user:secret@localhost:4317",
        ] {
            let said = Receiver::parse(wrong).map_err(|error| error.to_string());
            assert!(
                said.as_ref().is_err_and(|said| !said.contains("secret")),
                "{said:?}"
            );
        }
    }
}
