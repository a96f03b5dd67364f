//! The query API: `API.md` beside this file is its documentation.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Encode;
use super::answer::told;
use super::engine::{Engine, QueryError, Question};
use super::failure::Failure;
use super::grouping::{self, Grouping};
use super::labels::LabelList;
use super::query::{self, Clock, Misunderstood, Parameters, SELECTION};
use super::run::Run;
use super::services::{ServiceListBuilder, TimeLine};
use super::status::{AgentStatus, StatusAnswer};
use super::view::View;
use crate::listen::Pool;
use crate::profile::{ProfileKind, UnixTime};

/// What the handlers share.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) encode: Encode,
    pub(super) rest: fn(),
    pub(super) trace_url: Option<String>,
    pub(super) status: Box<dyn Fn() -> Option<AgentStatus> + Send + Sync>,
    /// Has the threads of queries: each query may hold many stacks in memory.
    pub(super) queries: Pool,
    pub(super) is_short: super::IsShort,
    /// Has the thread of `/api/status`, which waits for no query.
    pub(super) statuses: Pool,
}

/// The query's text as the handlers get it.
pub(super) type Asked = Result<Query<Parameters>, axum::extract::rejection::QueryRejection>;

/// Set when the one who asked is gone: the handler's future is dropped with it.
struct Cancel(Arc<Run>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// How long a query may take, from its request.
const QUERY_TIME: Duration = Duration::from_secs(60);

/// Has a query answered when its turn has come. Where memory is short, what is kept of others goes first; where that is not
/// enough, it is refused.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared, &Run) -> Result<Response, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    waited_for(shared, &shared.queries, |shared, run| {
        if run.is_short() {
            shared.forget();
        }
        run.check()?;
        work(shared, run)
    })
    .await
}

/// Has an answer made by a thread of `pool`, when its turn has come. It is abandoned when the one who asked is gone, or
/// has waited for too long.
async fn waited_for(
    shared: &Arc<Shared>,
    pool: &Pool,
    work: impl FnOnce(&Shared, &Run) -> Result<Response, Failure> + Send + 'static,
) -> Result<Response, Failure> {
    let unavailable = |what: &str| Failure(StatusCode::SERVICE_UNAVAILABLE, what.to_owned());
    let cancel = Cancel(Arc::new(Run::new(&shared.is_short)));
    let run = Arc::clone(&cancel.0);
    let running = Arc::clone(shared);
    let work = pool.run(move || {
        run.check_wanted()?;
        let answer = work(&running, &run);
        (running.rest)();
        answer
    });
    let Ok(work) = work else {
        return Err(unavailable(
            "too many queries wait for an answer: ask again in a few seconds",
        ));
    };
    match tokio::time::timeout(QUERY_TIME, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the query failed: see the log".to_owned(),
        )),
        Err(_) => Err(unavailable(
            "the query is not done after 60 s: choose a shorter range, or ask again later",
        )),
    }
}

pub(super) fn parameters(asked: Asked) -> Result<Parameters, Failure> {
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

/// How often what is kept is looked at while nobody asks.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// Drops what is kept for the next query while memory is short, whether anybody asks or not. Never completes.
pub(super) async fn forget_when_short(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        if shared.engine.kept.is_empty() {
            continue;
        }
        let looking = Arc::clone(&shared);
        // Where too much waits, the next time is soon enough.
        let _ = shared.statuses.run(move || {
            if (looking.is_short)() {
                looking.forget();
            }
        });
    }
}

impl Shared {
    /// Drops what is kept for the next query, and gives its memory back.
    fn forget(&self) {
        self.engine.kept.clear();
        (self.rest)();
    }

    pub(super) fn clock(&self) -> Result<Clock, Failure> {
        let now = now();
        let extent = self.engine.source.extent().map_err(QueryError::Source)?;
        let recent = (UnixTime(now.0.saturating_sub(DEFAULT_RANGE)), now);
        let (default_from, default_until) = match extent {
            Some(extent) if !self.engine.source.live() => extent,
            _ => recent,
        };
        let whole = extent.map_or(recent, |(start, end)| (start, end.max(now)));
        let kinds = self.engine.source.kinds().map_err(QueryError::Source)?;
        Ok(Clock {
            now,
            default_from,
            default_until,
            whole,
            default_kind: kinds.into_iter().min().unwrap_or_default(),
        })
    }

    pub(super) fn question(
        &self,
        parameters: &Parameters,
        compared: bool,
    ) -> Result<Question, Failure> {
        let clock = self.clock()?;
        let shown = query::selection(parameters, "", &clock)?;
        let base = compared
            .then(|| query::selection(parameters, "base_", &clock))
            .transpose()?;
        let grouping = match &base {
            // Two services are compared below their names.
            Some(base)
                if !base.filter.is_like(&shown.filter)
                    && query::value(parameters, "group").is_none() =>
            {
                Grouping::None
            }
            _ => grouping::grouping(parameters, &shown.filter)?,
        };
        Ok(Question {
            view: View::parse(parameters)?,
            shown,
            base,
            grouping,
        })
    }
}

/// The names of what can be looked at, where these kinds are there.
fn types(kinds: &[ProfileKind]) -> Vec<&'static str> {
    let mut types: Vec<ProfileKind> = kinds.to_vec();
    if kinds.len() > 1 {
        types.push(ProfileKind::Wall);
    }
    types.sort_unstable();
    types.dedup();
    types.into_iter().map(ProfileKind::name).collect()
}

/// `GET /api/status`
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Response, Failure> {
    // Whatever memory there is: it is what says how the agent does.
    waited_for(&shared, &shared.statuses, |shared, _| {
        let extent = shared.engine.source.extent().map_err(QueryError::Source)?;
        let answer = StatusAnswer {
            live: shared.engine.source.live(),
            now: now().0 / 1_000_000,
            extent: extent.map(|(from, until)| [from.0 / 1_000_000, until.0.div_ceil(1_000_000)]),
            types: types(&shared.engine.source.kinds().map_err(QueryError::Source)?),
            trace_url: shared.trace_url.clone(),
            agent: (shared.status)(),
        };
        Ok(Json(answer).into_response())
    })
    .await
}

/// `GET /api/services`
pub(super) async fn services(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["points"]])?;
    let points = query::number(&parameters, "points", 60, 1..=2_000)?;
    answer(&shared, move |shared, run| {
        let selection = query::selection(&parameters, "", &shared.clock()?)?;
        let line = TimeLine::new(&selection, points);
        let mut list = ServiceListBuilder::new(&selection, line);
        let engine = &shared.engine;
        let spans = engine.narrowed_windows(&selection, &line, run, |window| list.add(&window))?;
        spans.iter().for_each(|span| list.add_span(span));
        Ok(told(list.finish(), run))
    })
    .await
}

#[derive(Serialize)]
struct WindowRow {
    id: u64,
    r#type: &'static str,
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
    query::only(&parameters, &[&["type", "from", "until", "limit"]])?;
    let limit = query::number(&parameters, "limit", 1_000, 1..=10_000)?;
    answer(&shared, move |shared, run| {
        let selection = query::selection(&parameters, "", &shared.clock()?)?;
        let mut found = 0;
        let mut windows = std::collections::VecDeque::new();
        shared.engine.windows(&selection, run, |window| {
            found += 1;
            if windows.len() == limit {
                windows.pop_front();
            }
            windows.push_back(WindowRow {
                id: window.id.0,
                r#type: window.summary.kind.kind.name(),
                from: window.start.0 / 1_000_000,
                until: window.end.0.div_ceil(1_000_000),
                samples: window.summary.samples,
                period_ns: window.summary.kind.quantum(),
                bytes: window.bytes,
                label: shared.engine.source.label(window.id).map(str::to_owned),
            });
        })?;
        let windows = windows.into();
        Ok(told(WindowList { found, windows }, run))
    })
    .await
}

/// `GET /api/labels`
pub(super) async fn labels(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["group", "limit"]])?;
    let limit = query::number(&parameters, "limit", 50, 1..=5_000)?;
    answer(&shared, move |shared, run| {
        // Grouped as the flame graph by default: its stacks, which know the labels, are kept.
        let question = shared.question(&parameters, false)?;
        let set = shared.engine.stacks(&question, run)?;
        let list = LabelList {
            r#type: set.kind.name(),
            period_ns: set.quantum,
            samples: set.whole()[0],
            keys: set.labels.list(limit, set.quantum),
            attributes: set.attributes.list(limit, set.quantum),
        };
        Ok(told(list, run))
    })
    .await
}

/// `GET /api/trace`
pub(super) async fn trace(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION])?;
    answer(&shared, move |shared, run| {
        // A trace has time on CPUs and off them: both are told apart.
        let clock = Clock {
            default_kind: ProfileKind::Wall,
            ..shared.clock()?
        };
        let selection = query::selection(&parameters, "", &clock)?;
        if selection.filter.link.is_everything() {
            let missing = "give a trace_id of 32 or a span_id of 16 hexadecimal digits";
            return Err(Misunderstood(missing.to_owned()).into());
        }
        Ok(told(shared.engine.trace(&selection, run)?, run))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::page::kept::scripted::kept;
    use crate::page::{Limits, SavedSource};

    // Time is paused: it goes on to the next timer when every task waits.
    #[tokio::test(start_paused = true)]
    async fn what_is_kept_goes_when_memory_is_short_though_nobody_asks() {
        let short = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&short);
        let shared = Arc::new(Shared {
            engine: Engine::new(Arc::new(SavedSource::new([])), Limits::AGENT),
            encode: |_, _| Ok(Vec::new()),
            rest: || {},
            trace_url: None,
            status: Box::new(|| None),
            queries: Pool::start("query", 1, 1).unwrap(),
            is_short: Arc::new(move || flag.load(Ordering::Relaxed)),
            statuses: Pool::start("status", 1, 1).unwrap(),
        });
        shared.engine.kept.add(kept(1, true));
        tokio::spawn(forget_when_short(Arc::clone(&shared)));
        tokio::time::sleep(10 * FORGET_EVERY).await;
        assert!(!shared.engine.kept.is_empty(), "there is memory");
        short.store(true, Ordering::Relaxed);
        let began = std::time::Instant::now();
        while !shared.engine.kept.is_empty() {
            assert!(began.elapsed().as_secs() < 60, "it is kept all the same");
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }
}
