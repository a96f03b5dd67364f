//! Who may ask, and what a browser may do with the answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Nothing is loaded from anywhere else, and no script runs but the page's own files.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The names under which the page may be asked for. The page of another site can make its own name
/// resolve to this machine and then read what this server says (DNS rebinding); the `Host` header
/// still has the other site's name.
#[derive(Clone, Debug)]
pub(super) struct AllowedHosts {
    /// Is any IP address in a `Host` right, or only loopback ones?
    any_address: bool,
    names: Vec<String>,
}

impl AllowedHosts {
    /// For a server that listens on `address` and is known by `names`.
    pub(super) fn new(address: IpAddr, names: &[String]) -> Self {
        Self {
            any_address: !address.is_loopback(),
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
        }
    }

    /// May a server be asked as `host` (a name or address, with a port or without)?
    pub(super) fn allows(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        if name == "localhost" || self.names.contains(&name) {
            return true;
        }
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        // An address cannot be rebound: it is asked for by no name.
        match bare.unwrap_or(&name).parse::<IpAddr>() {
            Ok(address) => self.any_address || address.is_loopback(),
            Err(_) => false,
        }
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

/// Lets through what may ask, and gives every answer its headers.
pub(super) async fn guard(
    State(allowed): State<Arc<AllowedHosts>>,
    request: Request,
    next: Next,
) -> Response {
    let refused = refuse(&allowed, request.uri(), request.headers());
    let mut response = match refused {
        Some((status, message)) => (status, message).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    response
}

fn refuse(
    allowed: &AllowedHosts,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<(StatusCode, &'static str)> {
    let host = uri
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| headers.get(header::HOST)?.to_str().ok());
    if !host.is_some_and(|host| allowed.allows(host)) {
        return Some((
            StatusCode::MISDIRECTED_REQUEST,
            "This host name is not served here: use localhost or the address, or add the name to the page's host names.\n",
        ));
    }
    // Another site's page may not make this one work, even though it could not read the answer.
    let site = headers
        .get("sec-fetch-site")
        .and_then(|site| site.to_str().ok());
    if uri.path().starts_with("/api/") && matches!(site, Some("cross-site" | "same-site")) {
        return Some((StatusCode::FORBIDDEN, "Not for the pages of other sites.\n"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::AllowedHosts;

    #[test]
    fn on_loopback_only_loopback_names_are_served() {
        let hosts = AllowedHosts::new([127, 0, 0, 1].into(), &["profiler.internal".to_owned()]);
        for allowed in [
            "localhost",
            "LOCALHOST:4099",
            "127.0.0.1:4099",
            "127.8.8.8",
            "[::1]:4099",
            "[::1]",
            "Profiler.internal:80",
        ] {
            assert!(hosts.allows(allowed), "{allowed}");
        }
        for refused in [
            "",
            "evil.example",
            "evil.example:4099",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:4099",
            "[::2]",
            "[",
            ":",
        ] {
            assert!(!hosts.allows(refused), "{refused}");
        }
    }

    #[test]
    fn on_another_address_addresses_are_served() {
        let hosts = AllowedHosts::new([0, 0, 0, 0].into(), &[]);
        assert!(hosts.allows("10.0.0.1:4099"));
        assert!(!hosts.allows("evil.example:4099"));
    }
}
