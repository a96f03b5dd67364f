//! Answers that are no success.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::engine::QueryError;
use super::query::Misunderstood;

/// Seconds after which who was not answered may ask again.
const RETRY_AFTER: &str = "5";

/// An answer that is no success: its status, and what to do in words.
pub(super) struct Failure(pub(super) StatusCode, pub(super) String);

#[derive(Serialize)]
struct FailureBody<'a> {
    error: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.0, Json(FailureBody { error: &self.1 })).into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl From<Misunderstood> for Failure {
    fn from(misunderstood: Misunderstood) -> Self {
        Self(StatusCode::BAD_REQUEST, misunderstood.0)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::TooManyWindows { found, most } => Self(
                StatusCode::BAD_REQUEST,
                format!(
                    "the range holds {found} windows and one query reads {most} at most: choose a shorter range"
                ),
            ),
            QueryError::TooLarge { most } => Self(
                StatusCode::BAD_REQUEST,
                format!(
                    "the profile is larger than the {} MiB that this format may take: choose a shorter range, a service, \
                     or format=pprof",
                    most >> 20
                ),
            ),
            QueryError::MemoryShort => Self(
                StatusCode::SERVICE_UNAVAILABLE,
                "the agent has no memory for this query: choose a shorter range or a service, ask again in a few seconds, or \
                 raise the limit of the agent's control group"
                    .to_owned(),
            ),
            QueryError::Cancelled => Self(StatusCode::SERVICE_UNAVAILABLE, "cancelled".to_owned()),
            QueryError::Source(error) => Self(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the profiles cannot be read: {error}"),
            ),
        }
    }
}
