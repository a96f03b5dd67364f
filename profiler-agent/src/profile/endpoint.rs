//! Addresses of receivers as users write them: what the parser of URIs lets pass.

/// Is the port of an authority (`HOST:PORT`, RFC 3986 section 3.2) one that can be connected to? True where it has none.
#[must_use]
pub fn has_usable_port(authority: &str) -> bool {
    // Colons within brackets belong to an IPv6 address.
    let behind_address = authority.rsplit(']').next().unwrap_or_default();
    match behind_address.rsplit_once(':') {
        None => true,
        Some((_, port)) => port.parse::<u16>().is_ok_and(|port| port != 0),
    }
}

/// `text` without what lies before an `@` of its authority: a name and a password that no message may show.
#[must_use]
pub fn without_credentials(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // A password may hold what ends an authority: everything before the last `@` is left out.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}..@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_that_can_be_connected_to() {
        for usable in [
            "host",
            "host:1",
            "host:65535",
            "[::1]",
            "[::1]:4317",
            "127.0.0.1:80",
        ] {
            assert!(has_usable_port(usable), "{usable}");
        }
        for unusable in [
            "host:0",
            "host:65536",
            "host:99999",
            "host:x",
            "host:",
            "[::1]:x",
        ] {
            assert!(!has_usable_port(unusable), "{unusable}");
        }
    }

    #[test]
    fn a_password_is_not_shown_whatever_it_holds() {
        for (text, shown) in [
            ("http://host:4317", "http://host:4317"),
            ("http://user:PW@host:4317", "http://..@host:4317"),
            ("https://u:P/W@x@host", "https://..@host"),
            ("u:PW@host", "..@host"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
