//! One unary call of gRPC, by hand: the payload is compressed already, so that a retry costs nothing, and what
//! an untrusted receiver puts into a status cannot do more than be misunderstood.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
use prost::Message;

use super::outcome::{Code, answered, failed};
use super::status::RpcStatus;
use crate::export::compress::decompressed;
use crate::export::connection::{Answer, Body};
use crate::export::text::shortened;
use crate::profile::pairs::percent_decoded;
use crate::profile::{Coding, Delivery, Payload};

const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
/// Length of what stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Bytes in headers, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Longest message that is read.
const MAX_MESSAGE: usize = 64 << 10;

pub(super) fn path() -> PathAndQuery {
    PathAndQuery::from_static(EXPORT)
}

/// The headers of a call.
pub(super) fn headers(coding: Coding, timeout: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let text = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, text("application/grpc"));
    headers.insert(header::TE, text("trailers"));
    // grpc-go answers as it was asked, whatever is said here.
    headers.insert("grpc-accept-encoding", text("gzip,zstd"));
    if let Some(name) = coding.name() {
        headers.insert("grpc-encoding", text(name));
    }
    // At most eight digits.
    let milliseconds = timeout.as_millis().min(99_999_999) as u64;
    let timeout = format!("{milliseconds}m");
    headers.insert(
        "grpc-timeout",
        HeaderValue::try_from(timeout).expect("digits and a letter"),
    );
    headers
}

/// The payload as the only message of a call.
pub(super) fn body(payload: Arc<Payload>) -> Body {
    let mut prefix = vec![u8::from(payload.coding != Coding::Identity)];
    let length = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
    prefix.extend(length.to_be_bytes());
    Body::after(prefix, payload)
}

/// What the answer means.
pub(super) fn outcome(answer: &Answer) -> Delivery {
    let (headers, trailers) = (&answer.headers, &answer.trailers);
    let Some(code) = trailers
        .get("grpc-status")
        .or_else(|| headers.get("grpc-status"))
    else {
        return without_status(answer);
    };
    let code = code.to_str().ok().and_then(|code| code.parse().ok());
    let code = Code::from_number(code.unwrap_or(2));
    if code == Code::Ok {
        return match message(&answer.body, coding(answer)) {
            Ok(response) => answered(response),
            Err(message) => garbled(&message),
        };
    }
    let field = |name| trailers.get(name).or_else(|| headers.get(name));
    let message = field("grpc-message").map_or_else(String::new, |text| {
        let text = String::from_utf8_lossy(text.as_bytes());
        let decoded = percent_decoded(&text).unwrap_or_else(|_| text.to_string());
        shortened(decoded.as_bytes())
    });
    let details = field("grpc-status-details-bin")
        .and_then(|text| BASE64.decode(text.as_bytes()).ok())
        .and_then(|details| RpcStatus::decode(details.as_slice()).ok());
    failed(
        code,
        &message,
        details.and_then(|details| details.retry_delay()),
    )
}

/// Something on the way answered, which does not speak gRPC ("HTTP to gRPC Status Code Mapping").
fn without_status(answer: &Answer) -> Delivery {
    let status = answer.status;
    let code = match status {
        StatusCode::OK => return garbled("it has no status: is this a port of gRPC?"),
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    let text = format!("HTTP {status} {}", shortened(&answer.body));
    failed(code, text.trim_end(), None)
}

fn garbled(message: &str) -> Delivery {
    Delivery::Retry {
        after: None,
        message: format!("the receiver's answer makes no sense: {message}"),
    }
}

/// How a compressed message of the answer is compressed.
fn coding(answer: &Answer) -> Option<Coding> {
    let name = answer.headers.get("grpc-encoding")?.to_str().ok()?;
    let all = [Coding::Gzip, Coding::Zstd];
    all.into_iter().find(|coding| coding.name() == Some(name))
}

/// The answer's message.
fn message(body: &[u8], coding: Option<Coding>) -> Result<ExportProfilesServiceResponse, String> {
    let Some((prefix, message)) = body.split_at_checked(PREFIX) else {
        return Err("there is no message".to_owned());
    };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if message.len() as u64 != u64::from(length) {
        return Err("its message has another length than it says".to_owned());
    }
    let coding = match prefix[0] {
        0 => Coding::Identity,
        _ => coding.ok_or("nobody knows how its message is compressed")?,
    };
    let message = decompressed(message, coding, MAX_MESSAGE).map_err(|error| error.to_string())?;
    ExportProfilesServiceResponse::decode(message.as_slice()).map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
pub(super) mod tests;
