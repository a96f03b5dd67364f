//! `/debug/pprof/profile`: a CPU profile of the agent itself, asked for as Go programs are asked for theirs.
//!
//! It is taken in the agent's own threads by SIGPROF (crate `pprof`), not by BPF: it shows what the agent does beside
//! what the agent sees. It is off unless the configuration turns it on, for what holds its samples ([`MEMORY`]) is large and
//! stays with the process once it was asked for. One is taken at a time, for a minute at most.

mod convert;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pprof::{ProfilerGuard, ProfilerGuardBuilder};
use serde::Deserialize;

use crate::listen::Pool;
use crate::profile::{ArchiveError, Profile, SamplePeriod, UnixTime};
use convert::{Function, Stack};

/// Bytes that a profile takes at most: room for 16,384 stacks of 128 frames (pprof 0.15, `collector.rs`), 102 MB, and at its end the
/// same once more before the first is given back. 169 MB were measured beside a program that does nothing else.
pub const MEMORY: u64 = 176 << 20;

const FREQUENCY: u32 = 99;
/// Seconds, where the request does not say.
const USUAL: u64 = 30;
/// Seconds at most: within the time that a handler has ([`crate::listen`]).
const LONGEST: u64 = 60;
/// Libraries that a signal may have interrupted while they hold what unwinding needs.
const NOT_INSIDE: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];
/// Requests that wait for the thread that starts and ends profiles.
const WAITING: usize = 4;

/// What it needs of the agent.
pub struct OwnProfile {
    /// Writes a profile as pprof.
    pub encode: fn(&Profile) -> Result<Vec<u8>, ArchiveError>,
    /// Is there room for [`MEMORY`] bytes more?
    pub has_room: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What a request may ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default = "usual")]
    seconds: u64,
}

const fn usual() -> u64 {
    USUAL
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the agent's own profile is off: `telemetry.profile: true` turns it on")]
    Off,
    #[error("`seconds` is a number from 1 to {LONGEST}, and there is nothing else to ask for")]
    Asked,
    #[error("memory is short: a profile of the agent takes up to {} MiB", MEMORY >> 20)]
    Memory,
    #[error("another profile of the agent is being taken: ask again when it is done")]
    Busy,
    #[error("the profile was not taken: {0}")]
    Failed(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Off => StatusCode::FORBIDDEN,
            Self::Asked => StatusCode::BAD_REQUEST,
            Self::Memory | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        (status, [(header::CONTENT_TYPE, text)], format!("{self}\n")).into_response()
    }
}

type Subject = Arc<Option<(OwnProfile, Pool)>>;

/// The path; where it is off it says how it is turned on.
///
/// # Errors
/// The thread that starts and ends profiles cannot be started.
pub fn routes(own: Option<OwnProfile>) -> io::Result<Router> {
    let own = match own {
        Some(own) => Some((own, Pool::start("own-profile", 1, WAITING)?)),
        None => None,
    };
    Ok(Router::new()
        .route("/debug/pprof/profile", get(answered))
        .with_state(Arc::new(own)))
}

async fn answered(
    State(own): State<Subject>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    match take(own, asked).await {
        Ok(bytes) => {
            let mut response = bytes.into_response();
            let headers = response.headers_mut();
            for (name, value) in HEADERS {
                headers.insert(name, HeaderValue::from_static(value));
            }
            response
        }
        Err(refused) => refused.into_response(),
    }
}

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "application/octet-stream"),
    (
        header::CONTENT_DISPOSITION,
        "attachment; filename=\"profile\"",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Who does not wait for the answer ends the profile.
async fn take(
    own: Subject,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Vec<u8>, Refused> {
    let Some((agent, pool)) = &*own else {
        return Err(Refused::Off);
    };
    let seconds = match asked {
        Ok(Query(Asked { seconds })) if (1..=LONGEST).contains(&seconds) => seconds,
        _ => return Err(Refused::Asked),
    };
    if !(agent.has_room)() {
        return Err(Refused::Memory);
    }
    let started = pool.run(start).map_err(|_| Refused::Busy)?;
    let guard = started.await.map_err(failed)??;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let encode = agent.encode;
    let encoded = pool
        .run(move || finish(&guard, encode))
        .map_err(|_| Refused::Busy)?;
    encoded.await.map_err(failed)?
}

fn failed(error: impl std::fmt::Display) -> Refused {
    Refused::Failed(error.to_string())
}

fn start() -> Result<ProfilerGuard<'static>, Refused> {
    let builder = ProfilerGuardBuilder::default().frequency(FREQUENCY as i32);
    builder
        .blocklist(&NOT_INSIDE)
        .build()
        .map_err(|error| match error {
            pprof::Error::Running => Refused::Busy,
            error => failed(error),
        })
}

/// The profile so far, encoded.
fn finish(
    guard: &ProfilerGuard<'_>,
    encode: fn(&Profile) -> Result<Vec<u8>, ArchiveError>,
) -> Result<Vec<u8>, Refused> {
    let report = guard.report().build().map_err(failed)?;
    let start = since_epoch(report.timing.start_time);
    let end = UnixTime(start.0.saturating_add(nanoseconds(report.timing.duration)));
    let stacks = report.data.iter().map(|(frames, count)| Stack {
        thread: &frames.thread_name,
        frames: frames
            .frames
            .iter()
            .map(|inlined| inlined.iter().map(function).collect())
            .collect(),
        count: u64::try_from(*count).unwrap_or(0),
    });
    let period = SamplePeriod::from_hertz(FREQUENCY);
    let profile = convert::profile(std::process::id(), stacks, (start, end), period);
    encode(&profile).map_err(failed)
}

fn function(symbol: &pprof::Symbol) -> Function {
    Function {
        symbol: String::from_utf8_lossy(symbol.raw_name()).into_owned(),
        file: symbol
            .filename
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
    }
}

fn since_epoch(time: SystemTime) -> UnixTime {
    UnixTime(nanoseconds(
        time.duration_since(UNIX_EPOCH).unwrap_or_default(),
    ))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(own: Option<OwnProfile>, query: &str) -> (StatusCode, String) {
        let own = own.map(|own| (own, Pool::start("test", 1, 1).unwrap()));
        let uri = format!("/debug/pprof/profile{query}").parse().unwrap();
        let asked = Query::<Asked>::try_from_uri(&uri);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let response = answered(State(Arc::new(own)), asked).await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 4096).await;
            (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
        })
    }

    fn without_room() -> OwnProfile {
        OwnProfile {
            encode: |_| unreachable!("nothing is taken"),
            has_room: Box::new(|| false),
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let (status, text) = answer(None, "");
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text.contains("telemetry.profile: true"), "{text}");
        for query in ["?seconds=0", "?seconds=61", "?seconds=x", "?second=5"] {
            let (status, text) = answer(Some(without_room()), query);
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
            assert!(text.contains("from 1 to 60"), "{text}");
        }
        let (status, text) = answer(Some(without_room()), "?seconds=1");
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("memory is short"), "{text}");
    }
}
