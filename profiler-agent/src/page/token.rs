//! Who may see the page where a token is asked for.
//!
//! Scripts send `Authorization: Bearer TOKEN`. A browser opens `/?token=TOKEN` once: it gets a cookie, made from the
//! token without being it, and is sent on to the address without the token, which so stays out of its history and of
//! what it sends elsewhere.

use std::fmt::{self, Debug, Formatter, Write as _};
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::query::Parameters;

const COOKIE: &str = "profiler_agent_page";
/// A token that is shorter can be guessed.
const SHORTEST: usize = 16;
const LONGEST: usize = 512;

/// A text that is no token, and the fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token is one line of {SHORTEST} to {LONGEST} letters, digits and `-._~+/=`: `openssl rand -hex 32` makes one"
)]
pub struct BadToken;

/// What is asked of who wants to see the page. Only hashes of it are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    digest: [u8; 32],
    /// The cookie's value.
    cookie: String,
}

impl Debug for Token {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// The token that a file's content is; white space around it is not part of it.
    ///
    /// # Errors
    /// It is too short, too long, or cannot stand in a header.
    pub fn parse(content: &[u8]) -> Result<Self, BadToken> {
        let token = content.trim_ascii();
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        if !(SHORTEST..=LONGEST).contains(&token.len()) || !token.iter().all(is_plain) {
            return Err(BadToken);
        }
        let mut cookie = String::new();
        for byte in Sha256::new_with_prefix("cookie of ")
            .chain_update(token)
            .finalize()
        {
            // Writing into memory.
            let _ = write!(cookie, "{byte:02x}");
        }
        Ok(Self {
            digest: Sha256::digest(token).into(),
            cookie,
        })
    }

    /// Is it what was `presented`? Takes as long whatever is.
    fn is(&self, presented: &[u8]) -> bool {
        equal(&Sha256::digest(presented), &self.digest)
    }

    fn is_sent(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get_all(header::AUTHORIZATION).iter().any(|value| {
            value
                .as_bytes()
                .split_at_checked(7)
                .is_some_and(|(scheme, token)| {
                    scheme.eq_ignore_ascii_case(b"bearer ") && self.is(token)
                })
        });
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let mut values = cookies.filter_map(|pair| {
            let pair = pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?;
            pair.strip_prefix(b"=")
        });
        bearer || values.any(|value| equal(value, self.cookie.as_bytes()))
    }
}

/// Takes as long wherever the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

/// Lets through who has the token.
pub(super) async fn require(
    State(token): State<Arc<Token>>,
    request: Request,
    next: Next,
) -> Response {
    if token.is_sent(request.headers()) {
        return next.run(request).await;
    }
    match entrance(&token, request.uri()) {
        Some(response) => response,
        None => refusal(request.uri().path()),
    }
}

/// The answer to a browser that brings the token in the address of the page.
fn entrance(token: &Token, uri: &Uri) -> Option<Response> {
    let Query(parameters) = Query::<Parameters>::try_from_uri(uri).ok()?;
    let (_, presented) = parameters.iter().find(|(name, _)| name == "token")?;
    if uri.path() != "/" || !token.is(presented.as_bytes()) {
        return None;
    }
    let rest: Vec<&str> = uri
        .query()?
        .split('&')
        .filter(|pair| !pair.starts_with("token="))
        .collect();
    let location = match rest.is_empty() {
        true => "/".to_owned(),
        false => format!("/?{}", rest.join("&")),
    };
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", token.cookie);
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::try_from(location).ok()?);
    headers.insert(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

fn refusal(path: &str) -> Response {
    let status = StatusCode::UNAUTHORIZED;
    let fix = "this page asks for the token in the file that `page.token_file` of the agent's configuration, or --token-file, \
               names: send it as `Authorization: Bearer TOKEN`, or open /?token=TOKEN in a browser";
    let mut response = match path.starts_with("/api/") {
        true => Failure(status, fix.to_owned()).into_response(),
        false => (status, format!("{fix}\n")).into_response(),
    };
    let headers = response.headers_mut();
    let scheme = HeaderValue::from_static("Bearer realm=\"profiler-agent\"");
    headers.insert(header::WWW_AUTHENTICATE, scheme);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_is_long_and_fits_a_header() {
        assert!(Token::parse(format!("  {TEXT}\n").as_bytes()).is_ok());
        for wrong in [
            "",
            "short",
            "two lines of it\nand the other",
            "with spaces in it and more",
            "umlauts: äöüäöüäöüäöü",
        ] {
            assert_eq!(Token::parse(wrong.as_bytes()), Err(BadToken), "{wrong}");
        }
        assert_eq!(Token::parse(&[b'x'; LONGEST + 1]), Err(BadToken));
        let token = Token::parse(TEXT.as_bytes()).unwrap();
        assert!(!format!("{token:?}").contains(TEXT) && !token.cookie.contains(TEXT));
    }

    fn is_sent(name: header::HeaderName, value: &str) -> bool {
        let token = Token::parse(TEXT.as_bytes()).unwrap();
        token.is_sent(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
    }

    #[test]
    fn a_header_or_a_cookie_brings_it() {
        let token = Token::parse(TEXT.as_bytes()).unwrap();
        for right in [format!("Bearer {TEXT}"), format!("bearer {TEXT}")] {
            assert!(is_sent(header::AUTHORIZATION, &right), "{right}");
        }
        for wrong in [
            TEXT.to_owned(),
            "Bearer ".to_owned(),
            format!("Basic {TEXT}"),
            format!("Bearer {TEXT}0"),
            format!("Bearer {}", &TEXT[1..]),
        ] {
            assert!(!is_sent(header::AUTHORIZATION, &wrong), "{wrong}");
        }
        let cookie = |value: &str| is_sent(header::COOKIE, &format!("a=b; {COOKIE}={value}"));
        assert!(cookie(&token.cookie));
        assert!(!cookie(TEXT) && !cookie("") && !cookie(&token.cookie[1..]));
    }

    #[test]
    fn an_address_with_the_token_leads_to_one_without() {
        let token = Token::parse(TEXT.as_bytes()).unwrap();
        let enter = |uri: String| entrance(&token, &uri.parse().unwrap());
        let entered = enter(format!("/?from=now-5m&token={TEXT}&service=a%26b")).unwrap();
        assert_eq!(entered.status(), StatusCode::SEE_OTHER);
        assert_eq!(
            entered.headers()[header::LOCATION],
            "/?from=now-5m&service=a%26b"
        );
        assert_eq!(
            enter(format!("/?token={TEXT}")).unwrap().headers()[header::LOCATION],
            "/"
        );
        for wrong in [
            "/".to_owned(),
            "/?token=".to_owned(),
            format!("/?token={TEXT}0"),
            format!("/api/services?token={TEXT}"),
        ] {
            assert!(enter(wrong.clone()).is_none(), "{wrong}");
        }
    }
}
