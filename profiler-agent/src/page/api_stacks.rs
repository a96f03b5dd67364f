//! The queries that are answered from stacks: `API.md` beside this file is their documentation.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{encoded, told};
use super::api::{Asked, Shared, answer, parameters};
use super::engine::Question;
use super::failure::Failure;
use super::flame::flame_graph;
use super::functions::{Order, Part, function_table};
use super::grouping::{Grouping, usual};
use super::heat::Grid;
use super::query::{self, AnswerFormat, BASE, Misunderstood, Parameters, SELECTION};
use super::run::Run;
use super::sandwich::{Function, sandwich};
use super::search::{Search, search_answer};
use super::verdict::verdict as verdict_on;

/// `GET /api/flamegraph`
pub(super) async fn flamegraph(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(
        &parameters,
        &[SELECTION, &["group", "format", "focus", "view"]],
    )?;
    let format = query::format(&parameters)?;
    answer(&shared, move |shared, run| {
        let question = shared.question(&parameters, false)?;
        if format != AnswerFormat::Json {
            if !question.view.is_plain() {
                let fix = "a view is drawn in JSON alone: leave out view or format";
                return Err(Misunderstood(fix.to_owned()).into());
            }
            let shown = &question.shown;
            let profile = match format {
                AnswerFormat::Collapsed | AnswerFormat::Svg => {
                    shared.engine.merged_for_text(shown, run)?
                }
                AnswerFormat::Pprof | AnswerFormat::Json => shared.engine.merged(shown, run)?,
            };
            return encoded(shared.encode, &profile, shown, format, run);
        }
        drawn(shared, &question, &parameters, run)
    })
    .await
}

/// `GET /api/diff`
pub(super) async fn diff(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, BASE, &["group", "focus", "view"]])?;
    answer(&shared, move |shared, run| {
        let question = shared.question(&parameters, true)?;
        drawn(shared, &question, &parameters, run)
    })
    .await
}

fn drawn(
    shared: &Shared,
    question: &Question,
    parameters: &Parameters,
    run: &Run,
) -> Result<Response, Failure> {
    let path = query::focus(parameters)?;
    let set = shared.engine.viewed(question, run)?;
    match flame_graph(&set, &path, question.base.is_some(), run)? {
        Some(graph) => Ok(told(graph, run)),
        None => Err(Failure(
            StatusCode::NOT_FOUND,
            "the focus is not there: no stack of the selection begins with these frames".to_owned(),
        )),
    }
}

/// Is there a parameter of a base?
fn is_compared(parameters: &Parameters) -> bool {
    let mut names = BASE.iter();
    names.any(|name| query::value(parameters, name).is_some())
}

/// `GET /api/functions`
pub(super) async fn functions(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    let own = &[
        "group", "view", "search", "order", "sort", "offset", "limit",
    ];
    query::only(&parameters, &[SELECTION, BASE, own])?;
    let order = match query::value(&parameters, "order") {
        None | Some("self") => Order::Own,
        Some("total") => Order::Total,
        Some("change") => Order::Change,
        Some("name") => Order::Name,
        Some(other) => {
            let fix = format!("order is {other:?}: give self, total, change or name");
            return Err(Misunderstood(fix).into());
        }
    };
    let ascending = match query::value(&parameters, "sort") {
        None => order == Order::Name,
        Some("ascending") => true,
        Some("descending") => false,
        Some(other) => {
            let fix = format!("sort is {other:?}: give ascending or descending");
            return Err(Misunderstood(fix).into());
        }
    };
    let part = Part {
        order,
        // Names are sorted from A to Z as they are, numbers the largest first.
        reversed: ascending != (order == Order::Name),
        offset: query::number(&parameters, "offset", 0, 0..=10_000_000)?,
        limit: query::number(&parameters, "limit", 500, 1..=10_000)?,
    };
    let search = Search::parse(query::value(&parameters, "search").unwrap_or_default())?;
    let compared = is_compared(&parameters);
    answer(&shared, move |shared, run| {
        let question = shared.question(&parameters, compared)?;
        let set = shared.engine.viewed(&question, run)?;
        let found = search.frames(&set.names, run)?;
        let table = function_table(&set, compared, &found, part, run)?;
        Ok(told(table, run))
    })
    .await
}

/// `GET /api/search`
pub(super) async fn search(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(
        &parameters,
        &[SELECTION, BASE, &["group", "view", "search"]],
    )?;
    let search = Search::parse(query::value(&parameters, "search").unwrap_or_default())?;
    let compared = is_compared(&parameters);
    answer(&shared, move |shared, run| {
        let question = shared.question(&parameters, compared)?;
        let set = shared.engine.viewed(&question, run)?;
        let found = search.frames(&set.names, run)?;
        let answer = search_answer(&set, compared, &found, run)?;
        Ok(told(answer, run))
    })
    .await
}

/// `GET /api/sandwich`
pub(super) async fn sandwiched(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(
        &parameters,
        &[SELECTION, BASE, &["group", "view", "function", "module"]],
    )?;
    let text = |name| query::value(&parameters, name).map(str::to_owned);
    let Some(name) = text("function") else {
        return Err(Misunderstood("give function, the name of one".to_owned()).into());
    };
    let function = Function {
        name,
        module: text("module"),
    };
    let compared = is_compared(&parameters);
    answer(&shared, move |shared, run| {
        let question = shared.question(&parameters, compared)?;
        let set = shared.engine.viewed(&question, run)?;
        match sandwich(&set, &function, compared, run)? {
            Some(sandwich) => Ok(told(sandwich, run)),
            None => Err(Failure(
                StatusCode::NOT_FOUND,
                format!(
                    "no stack of the selection has the function {:?}",
                    function.name
                ),
            )),
        }
    })
    .await
}

/// `GET /api/heat`
pub(super) async fn heat(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["rows", "search"]])?;
    let rows = query::number(&parameters, "rows", 50, 1..=100)?;
    let search = Search::parse(query::value(&parameters, "search").unwrap_or_default())?;
    answer(&shared, move |shared, run| {
        let selection = query::selection(&parameters, "", &shared.clock()?)?;
        let grid = Grid::over(selection.from, selection.until, rows)?;
        let heat = shared.engine.heat(selection, grid, &search, run)?;
        Ok(told(heat, run))
    })
    .await
}

/// `GET /api/verdict`
pub(super) async fn verdict(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    query::only(&parameters, &[SELECTION, &["group"]])?;
    answer(&shared, move |shared, run| {
        let mut question = shared.question(&parameters, false)?;
        // Below what the page draws; where that is not the service, by the service alone.
        if !matches!(question.grouping, Grouping::Thread | Grouping::Process) {
            question.grouping = usual(&question.shown.filter);
        }
        let mut losses = BTreeMap::new();
        shared.engine.windows(&question.shown, run, |window| {
            for loss in window.summary.losses {
                let sum = losses.entry(loss.name.to_string()).or_insert(0u64);
                *sum = sum.saturating_add(loss.count);
            }
        })?;
        let set = shared.engine.stacks(&question, run)?;
        let only = match question.grouping {
            Grouping::None => {
                let filter = &question.shown.filter;
                Some(
                    filter
                        .service
                        .as_deref()
                        .or(filter.comm.as_deref())
                        .unwrap_or_default(),
                )
            }
            _ => None,
        };
        Ok(told(verdict_on(&set, only, &losses, run)?, run))
    })
    .await
}

/// `GET /api/lines`
pub(super) async fn lines(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
) -> Result<Response, Failure> {
    let parameters = parameters(asked)?;
    let own = &["function", "module", "windows", "limit"];
    query::only(&parameters, &[SELECTION, own])?;
    let windows = query::number(&parameters, "windows", 12, 1..=60)?;
    let limit = query::number(&parameters, "limit", 2_000, 1..=10_000)?;
    answer(&shared, move |shared, run| {
        let question = shared.question(&parameters, false)?;
        let counts = shared.engine.lines(&question.shown, windows, run)?;
        let [function, module] = ["function", "module"].map(|name| query::value(&parameters, name));
        Ok(told(counts.finish(function, module, limit), run))
    })
    .await
}
