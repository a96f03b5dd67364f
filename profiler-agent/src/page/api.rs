//! The query API: `API.md` beside this file is its documentation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::Encode;
use super::engine::{Engine, QueryError, Question};
use super::flame::flame_graph;
use super::functions::{Order, function_table};
use super::labels::LabelList;
use super::query::{self, AnswerFormat, BASE, Clock, Misunderstood, Parameters, SELECTION};
use super::services::ServiceListBuilder;
use super::status::{AgentStatus, StatusAnswer};
use crate::profile::{Profile, UnixTime};

/// What the handlers share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) encode: Encode,
    pub(super) trace_url: Option<String>,
    pub(super) status: Box<dyn Fn() -> Option<AgentStatus> + Send + Sync>,
    /// Queries at a time: each may hold many stacks in memory.
    pub(super) gate: Semaphore,
}

/// The query's text as the handlers get it.
pub(super) type Asked = Result<Query<Parameters>, axum::extract::rejection::QueryRejection>;

/// An answer that is no success: its status, and what to do in words.
pub(super) struct Failure(StatusCode, String);

#[derive(Serialize)]
struct FailureBody<'a> {
    error: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(FailureBody { error: &self.1 })).into_response()
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
            QueryError::Cancelled => Self(StatusCode::SERVICE_UNAVAILABLE, "cancelled".to_owned()),
            QueryError::Source(error) => Self(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the profiles cannot be read: {error}"),
            ),
        }
    }
}

/// Set when the one who asked is gone: the handler's future is dropped with it.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a query off the server's thread, when its turn has come.
async fn answer<T: Send + 'static>(
    shared: Arc<Shared>,
    work: impl FnOnce(&Shared, &AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let cancel = Cancel(Arc::default());
    let cancelled = Arc::clone(&cancel.0);
    let broken = |what: &str| Failure(StatusCode::INTERNAL_SERVER_ERROR, what.to_owned());
    let Ok(_turn) = shared.gate.acquire().await else {
        return Err(broken("the page is closing"));
    };
    let running = Arc::clone(&shared);
    tokio::task::spawn_blocking(move || work(&running, &cancelled))
        .await
        .unwrap_or_else(|_| Err(broken("the query failed: see the log")))
}

fn parameters(asked: Asked) -> Result<Parameters, Failure> {
    asked.map(|Query(parameters)| parameters).map_err(|_| {
        Failure(
            StatusCode::BAD_REQUEST,
            "the query is not understood: percent-encode its values".to_owned(),
        )
    })
}

fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Fifteen minutes up to now where windows keep coming, else all there is.
const DEFAULT_RANGE: u64 = 15 * 60 * 1_000_000_000;

impl Shared {
    fn clock(&self) -> Result<Clock, Failure> {
        let now = now();
        let extent = self.engine.source.extent().map_err(QueryError::Source)?;
        let recent = (UnixTime(now.0.saturating_sub(DEFAULT_RANGE)), now);
        let (default_from, default_until) = match extent {
            Some(extent) if !self.engine.source.live() => extent,
            _ => recent,
        };
        let whole = extent.map_or(recent, |(start, end)| (start, end.max(now)));
        Ok(Clock {
            now,
            default_from,
            default_until,
            whole,
        })
    }

    fn question(&self, parameters: &Parameters, compared: bool) -> Result<Question, Failure> {
        let clock = self.clock()?;
        let shown = query::selection(parameters, "", &clock)?;
        let base = compared
            .then(|| query::selection(parameters, "base_", &clock))
            .transpose()?;
        let grouping = match &base {
            // Two services are compared below their names.
            Some(base) if base.filter != shown.filter => query::grouping(parameters, &shown.filter)
                .map(|grouping| {
                    if query::value(parameters, "group").is_none() {
                        query::Grouping::None
                    } else {
                        grouping
                    }
                })?,
            _ => query::grouping(parameters, &shown.filter)?,
        };
        Ok(Question {
            shown,
            base,
            grouping,
        })
    }
}

/// `GET /api/status`
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Response, Failure> {
    let answer = answer(shared, |shared, _| {
        let extent = shared.engine.source.extent().map_err(QueryError::Source)?;
        Ok(StatusAnswer {
            live: shared.engine.source.live(),
            now: now().0 / 1_000_000,
            extent: extent.map(|(from, until)| [from.0 / 1_000_000, until.0.div_ceil(1_000_000)]),
            trace_url: shared.trace_url.clone(),
            agent: (shared.status)(),
        })
    })
    .await?;
    Ok(Json(answer).into_response())
}

/// `GET /api/services`
pub(super) async fn services(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["points"]])?;
    let points = query::number(&parameters, "points", 60, 1..=2_000)?;
    let list = answer(shared, move |shared, cancelled| {
        let selection = query::selection(&parameters, "", &shared.clock()?)?;
        let mut list = ServiceListBuilder::new(&selection, points);
        shared
            .engine
            .narrowed_windows(&selection, cancelled, |window| list.add(&window))?;
        Ok(list.finish())
    })
    .await?;
    Ok(Json(list).into_response())
}

#[derive(Serialize)]
struct WindowRow {
    id: u64,
    from: u64,
    until: u64,
    samples: u64,
    period_ns: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

#[derive(Serialize)]
struct WindowList {
    found: usize,
    windows: Vec<WindowRow>,
}

/// `GET /api/windows`
pub(super) async fn windows(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[&["from", "until", "limit"]])?;
    let limit = query::number(&parameters, "limit", 1_000, 1..=10_000)?;
    let list = answer(shared, move |shared, _| {
        let selection = query::selection(&parameters, "", &shared.clock()?)?;
        let mut found = 0;
        let mut windows = std::collections::VecDeque::new();
        shared.engine.windows(&selection, |window| {
            found += 1;
            if windows.len() == limit {
                windows.pop_front();
            }
            windows.push_back(WindowRow {
                id: window.id.0,
                from: window.start.0 / 1_000_000,
                until: window.end.0.div_ceil(1_000_000),
                samples: window.summary.samples,
                period_ns: window.summary.period.nanoseconds(),
                bytes: window.bytes,
                label: shared.engine.source.label(window.id).map(str::to_owned),
            });
        })?;
        Ok(WindowList {
            found,
            windows: windows.into(),
        })
    })
    .await?;
    Ok(Json(list).into_response())
}

/// `GET /api/flamegraph`
pub(super) async fn flamegraph(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["group", "format", "focus"]])?;
    let format = query::format(&parameters)?;
    answer(shared, move |shared, cancelled| {
        let question = shared.question(&parameters, false)?;
        if format != AnswerFormat::Json {
            let profile = shared.engine.merged(&question.shown, cancelled)?;
            return encoded(shared, &profile, format);
        }
        drawn(shared, &question, &parameters, cancelled)
    })
    .await
}

/// `GET /api/diff`
pub(super) async fn diff(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, BASE, &["group", "focus"]])?;
    answer(shared, move |shared, cancelled| {
        let question = shared.question(&parameters, true)?;
        drawn(shared, &question, &parameters, cancelled)
    })
    .await
}

fn drawn(
    shared: &Shared,
    question: &Question,
    parameters: &Parameters,
    cancelled: &AtomicBool,
) -> Result<Response, Failure> {
    let path = query::focus(parameters)?;
    let set = shared.engine.stacks(question, cancelled)?;
    match flame_graph(&set, &path, question.base.is_some()) {
        Some(graph) => Ok(Json(graph).into_response()),
        None => Err(Failure(
            StatusCode::NOT_FOUND,
            "the focus is not there: no stack of the selection begins with these frames".to_owned(),
        )),
    }
}

/// `GET /api/functions`
pub(super) async fn functions(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(
        &parameters,
        &[SELECTION, BASE, &["search", "order", "limit"]],
    )?;
    let limit = query::number(&parameters, "limit", 500, 1..=10_000)?;
    let order = match query::value(&parameters, "order") {
        None | Some("self") => Order::Own,
        Some("total") => Order::Total,
        Some("change") => Order::Change,
        Some(other) => {
            return Err(
                Misunderstood(format!("order is {other:?}: give self, total or change")).into(),
            );
        }
    };
    let compared = BASE
        .iter()
        .any(|name| query::value(&parameters, name).is_some());
    let table = answer(shared, move |shared, cancelled| {
        let question = shared.question(&parameters, compared)?;
        let set = shared.engine.stacks(&question, cancelled)?;
        let search = query::value(&parameters, "search").unwrap_or_default();
        Ok(function_table(&set, compared, search, order, limit))
    })
    .await?;
    Ok(Json(table).into_response())
}

/// `GET /api/labels`
pub(super) async fn labels(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["limit"]])?;
    let limit = query::number(&parameters, "limit", 50, 1..=5_000)?;
    let list = answer(shared, move |shared, cancelled| {
        // Grouped as the flame graph by default: its stacks, which know the labels, are kept.
        let question = shared.question(&parameters, false)?;
        let set = shared.engine.stacks(&question, cancelled)?;
        Ok(LabelList {
            period_ns: set.period.nanoseconds(),
            samples: set.whole()[0],
            keys: set.labels.list(limit),
        })
    })
    .await?;
    Ok(Json(list).into_response())
}

/// `GET /api/trace`
pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION])?;
    let found = answer(shared, move |shared, cancelled| {
        let selection = query::selection(&parameters, "", &shared.clock()?)?;
        if selection.filter.link.is_everything() {
            let missing = "give a trace_id of 32 or a span_id of 16 hexadecimal digits";
            return Err(Misunderstood(missing.to_owned()).into());
        }
        Ok(shared.engine.trace(&selection, cancelled)?)
    })
    .await?;
    Ok(Json(found).into_response())
}

fn encoded(shared: &Shared, profile: &Profile, format: AnswerFormat) -> Result<Response, Failure> {
    let bytes = (shared.encode)(profile, format).map_err(|error| {
        Failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the profile cannot be encoded: {error}"),
        )
    })?;
    let (kind, name) = match format {
        AnswerFormat::Json => ("application/json", "profile.json"),
        AnswerFormat::Collapsed => ("text/plain; charset=utf-8", "profile.txt"),
        AnswerFormat::Pprof => ("application/octet-stream", "profile.pb.gz"),
        AnswerFormat::Svg => ("image/svg+xml", "profile.svg"),
    };
    let mut response = Body::from(bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}
