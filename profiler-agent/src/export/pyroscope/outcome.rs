//! What a server's answer means (the Connect protocol, "Unary-Response").

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::export::connection::{Answer, retry_after};
use crate::export::text::shortened;
use crate::profile::Delivery;

/// What Connect says of a failure.
#[derive(Default, Deserialize)]
struct Error {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

pub(super) fn outcome(answer: &Answer) -> Delivery {
    let status = answer.status;
    if status == StatusCode::OK {
        let kind = text(&answer.headers, header::CONTENT_TYPE);
        if kind.starts_with("application/proto") {
            return Delivery::Accepted;
        }
        return Delivery::Retry {
            after: None,
            message: format!(
                "what answers is no Pyroscope (content type {:?}): is the endpoint right?",
                shortened(kind.as_bytes())
            ),
        };
    }
    let error: Error = serde_json::from_slice(&answer.body).unwrap_or_default();
    let said = match (error.code.as_str(), error.message.as_str()) {
        ("", _) => shortened(&answer.body),
        (code, message) => shortened(format!("{code}: {message}").as_bytes()),
    };
    let mut message = format!("HTTP {status}: {said}");
    if retried(status, &error.code) {
        let wait = text(&answer.headers, header::RETRY_AFTER);
        let after = retry_after(wait, answer.received);
        return Delivery::Retry { after, message };
    }
    if let Some(fix) = fix(status, &error.code) {
        message += &format!("; {fix}");
    }
    Delivery::Refused { message }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or("")
}

/// The codes of trouble that passes. A server says `internal` and `unknown` when its own parts are away, and
/// `invalid_argument` of profiles that it will never take.
fn retried(status: StatusCode, code: &str) -> bool {
    match code {
        "canceled" | "unknown" | "deadline_exceeded" | "resource_exhausted" | "aborted"
        | "internal" | "unavailable" | "data_loss" => true,
        // Something on the way, which speaks HTTP only.
        "" => matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
        _ => false,
    }
}

fn fix(status: StatusCode, code: &str) -> Option<&'static str> {
    match (status.as_u16(), code) {
        (401 | 403, _) => {
            Some("set the tenant, and the headers that the server asks for (authorization)")
        }
        (404 | 405 | 415 | 501, _) => Some(
            "the endpoint is the server's base address (usually port 4040), before /push.v1.PusherService",
        ),
        (413, _) => {
            Some("the server takes smaller profiles only: lower the limit of a profile's bytes")
        }
        (_, "invalid_argument") => {
            Some("the server's limits may be lower than those that are configured here")
        }
        _ => None,
    }
}
