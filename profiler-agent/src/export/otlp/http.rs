//! One request of OTLP over HTTP.

use std::sync::Arc;

use http::uri::{InvalidUri, PathAndQuery};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
use prost::Message;

use super::outcome::{PIPELINE_OFF, answered};
use super::status::RpcStatus;
use crate::export::connection::{Answer, Body, retry_after};
use crate::export::text::shortened;
use crate::profile::{Coding, Delivery, Payload};

const PATH: &str = "/v1development/profiles";
const PROTOBUF: &str = "application/x-protobuf";

/// Where profiles are posted to: the endpoint's own path where it is `whole`, else one below it.
pub(super) fn path(endpoint: &Uri, whole: bool) -> Result<PathAndQuery, InvalidUri> {
    if whole {
        let path = endpoint.path_and_query().map(PathAndQuery::as_str);
        return path.unwrap_or("/").parse();
    }
    let query = endpoint.query().map(|query| format!("?{query}"));
    let base = endpoint.path().trim_end_matches('/');
    format!("{base}{PATH}{}", query.unwrap_or_default()).parse()
}

pub(super) fn headers(coding: Coding) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // To the letter: receivers compare it.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    if let Some(name) = coding.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    headers
}

pub(super) fn body(payload: Arc<Payload>) -> Body {
    Body::new(payload)
}

/// What the answer means.
pub(super) fn outcome(answer: &Answer) -> Delivery {
    let content_type = text(&answer.headers, header::CONTENT_TYPE).unwrap_or("");
    let content_type = content_type.split(';').next().unwrap_or("").trim();
    if answer.status.is_success() {
        return success(answer, content_type);
    }
    let status = match content_type {
        PROTOBUF => RpcStatus::decode(answer.body.clone()).ok(),
        _ => None,
    };
    let said = match &status {
        Some(status) => shortened(status.message.as_bytes()),
        None => shortened(&answer.body),
    };
    let code = answer.status;
    let mut message = format!("HTTP {code}: {said}");
    let retry = matches!(
        code,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if retry {
        let header = text(&answer.headers, header::RETRY_AFTER);
        let header = header.and_then(|value| retry_after(value, answer.received));
        // Both are floors.
        let after = header.max(status.and_then(|status| status.retry_delay()));
        return Delivery::Retry { after, message };
    }
    if code.is_redirection() {
        let to = text(&answer.headers, header::LOCATION).unwrap_or("");
        message += &format!(
            "; write the endpoint that it leads to: {}",
            shortened(to.as_bytes())
        );
    }
    if let Some(fix) = fix(code) {
        message += &format!("; {fix}");
    }
    Delivery::Refused { message }
}

fn success(answer: &Answer, content_type: &str) -> Delivery {
    let garbled = |message: String| Delivery::Retry {
        after: None,
        message: format!("HTTP {}: {message}", answer.status),
    };
    match content_type {
        PROTOBUF | "" => match ExportProfilesServiceResponse::decode(answer.body.clone()) {
            Ok(response) => answered(response),
            Err(error) => garbled(format!("the receiver's answer makes no sense: {error}")),
        },
        "text/html" => garbled(
            "a web page answers, which is no receiver of OTLP: is the endpoint right?".to_owned(),
        ),
        // It was asked in protobuf and answers otherwise, but it does answer: the status counts.
        _ => Delivery::Accepted,
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn fix(code: StatusCode) -> Option<&'static str> {
    match code {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Some(PIPELINE_OFF),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Some("set the headers that the receiver asks for (authorization, tenant)")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Some("the receiver takes smaller requests only: lower the largest size of a request")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Some("the receiver may not know the compression: try gzip, or none")
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
