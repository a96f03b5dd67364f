//! `/metrics`, `/healthz` and `/readyz`.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the agent's own metrics, as Prometheus text or, where it is asked for, OpenMetrics |
//! | `/healthz` | 200 while the agent does its work, and a line for each thing that does not work although the rest does; else 503 and what is overdue |
//! | `/readyz` | 200 while programs are attached and it is not stopping, else 503 and why |
//!
//! They are on the page's listener, and alone on one of their own that a kubelet and Prometheus reach. The probes are
//! answered at once by the thread that serves, from what others have put down in memory; the numbers are gathered by a
//! thread that does nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::health::Unhealthy;
use super::measure::families;
use super::prometheus::{Exposition, render};
use super::reading::Reading;
use crate::listen::Pool;

/// Why the agent is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It does not sample yet.
    Starting,
    /// It does not sample any more.
    Stopping,
}

impl NotReady {
    /// In words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Starting => "the programs are not attached yet",
            Self::Stopping => "the agent is stopping",
        }
    }
}

/// What the endpoints tell of.
pub trait Subject: Send + Sync + 'static {
    /// Its numbers; may take a moment, is called where blocking is right.
    fn reading(&self) -> Reading;
    /// Does it do its work? At once.
    ///
    /// # Errors
    /// What is overdue.
    fn health(&self) -> Result<(), Unhealthy>;
    /// What does not work just now although the rest does, in sentences. At once.
    fn troubles(&self) -> Vec<String>;
    /// Are programs attached? At once.
    ///
    /// # Errors
    /// Why not.
    fn readiness(&self) -> Result<(), NotReady>;
}

/// Requests that may wait: more than both listeners have connections, of which each has one. None is refused for others.
const WAITING: usize = 160;
/// How long one waits: Prometheus asks for an answer within 10 s by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// The two probes over `subject`.
pub fn probes(subject: Arc<dyn Subject>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(subject)
}

/// `/metrics` over `subject`.
///
/// # Errors
/// The thread that gathers the numbers cannot be started.
pub fn metrics(subject: Arc<dyn Subject>) -> io::Result<Router> {
    let pool = Pool::start("metrics", 1, WAITING)?;
    Ok(Router::new()
        .route("/metrics", get(gathered))
        .with_state((subject, pool)))
}

async fn gathered(
    State((subject, pool)): State<(Arc<dyn Subject>, Pool)>,
    headers: HeaderMap,
) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    let exposition = Exposition::accepted(accept.unwrap_or_default());
    let refused = |why| plain(StatusCode::SERVICE_UNAVAILABLE, why);
    let Ok(text) = pool.run(move || render(&families(&subject.reading()), exposition)) else {
        return refused("too many others wait for the metrics: ask again later");
    };
    match tokio::time::timeout(PATIENCE, text).await {
        Ok(Ok(text)) => answer(StatusCode::OK, exposition.media_type(), text),
        Ok(Err(_)) => refused("the metrics could not be gathered: see the log"),
        Err(_) => refused("the metrics are not gathered in time: ask again later"),
    }
}

async fn healthz(State(subject): State<Arc<dyn Subject>>) -> Response {
    match subject.health() {
        Ok(()) => {
            let mut lines = vec!["healthy".to_owned()];
            lines.extend(subject.troubles());
            plain(StatusCode::OK, &lines.join("\n"))
        }
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &reason.to_string()),
    }
}

async fn readyz(State(subject): State<Arc<dyn Subject>>) -> Response {
    match subject.readiness() {
        Ok(()) => plain(StatusCode::OK, "ready"),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, reason.reason()),
    }
}

fn plain(status: StatusCode, text: &str) -> Response {
    answer(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn answer(status: StatusCode, media_type: &'static str, text: String) -> Response {
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_TYPE, media_type);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CACHE_CONTROL, "no-store");
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::health::{Ages, judge};

    /// An agent with these troubles, that read its rings so long ago.
    struct Agent(&'static [&'static str], Duration);

    impl Subject for Agent {
        fn reading(&self) -> Reading {
            Reading::default()
        }
        fn health(&self) -> Result<(), Unhealthy> {
            let ages = Ages {
                rings_read: self.1,
                window_closed: Duration::ZERO,
                window_named: Duration::ZERO,
            };
            judge(ages, Duration::from_secs(10))
        }
        fn troubles(&self) -> Vec<String> {
            self.0.iter().map(|trouble| (*trouble).to_owned()).collect()
        }
        fn readiness(&self) -> Result<(), NotReady> {
            Ok(())
        }
    }

    fn health(agent: Agent) -> (StatusCode, String) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let response = healthz(State(Arc::new(agent))).await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 4096).await;
            (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
        })
    }

    #[test]
    fn what_does_not_work_is_listed_and_is_no_reason_to_restart() {
        let healthy = health(Agent(&[], Duration::ZERO));
        assert_eq!(healthy, (StatusCode::OK, "healthy\n".to_owned()));
        let troubled = health(Agent(&["CPU 3 is not sampled", "b"], Duration::ZERO));
        let lines = "healthy\nCPU 3 is not sampled\nb\n".to_owned();
        assert_eq!(troubled, (StatusCode::OK, lines));
        let (status, _) = health(Agent(&["b"], Duration::from_secs(60)));
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
