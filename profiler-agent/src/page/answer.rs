//! Answers with what is not in them.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Encode;
use super::download::file_name;
use super::failure::Failure;
use super::query::{AnswerFormat, Selection};
use super::run::Run;
use crate::profile::Profile;

/// An answer and how many windows are missing in it because they are damaged.
#[derive(Serialize)]
struct Told<T> {
    #[serde(flatten)]
    answer: T,
    damaged_windows: usize,
}

/// The answer as JSON.
pub(super) fn told<T: Serialize>(answer: T, run: &Run) -> Response {
    let damaged_windows = run.damaged().len();
    Json(Told {
        answer,
        damaged_windows,
    })
    .into_response()
}

/// `damaged_windows` of answers that are no JSON.
const DAMAGED_WINDOWS: HeaderName = HeaderName::from_static("profiler-damaged-windows");

/// The profile of a selection in a format, as a file to be kept.
pub(super) fn encoded(
    encode: Encode,
    profile: &Profile,
    selection: &Selection,
    format: AnswerFormat,
    run: &Run,
) -> Result<Response, Failure> {
    let bytes = encode(profile, format).map_err(|error| {
        Failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the profile cannot be encoded: {error}"),
        )
    })?;
    let (kind, ending) = match format {
        AnswerFormat::Json => ("application/json", "json"),
        AnswerFormat::Collapsed => ("text/plain; charset=utf-8", "txt"),
        AnswerFormat::Pprof => ("application/octet-stream", "pb.gz"),
        AnswerFormat::Svg => ("image/svg+xml", "svg"),
    };
    // A selection without any window has a profile without a time.
    let times = match profile.end.0 {
        0 => (selection.from, selection.until),
        _ => (profile.start, profile.end),
    };
    let name = file_name(selection, times, ending);
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(DAMAGED_WINDOWS, run.damaged().len().into());
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}
