//! The agent's own page and the query API behind it.
//!
//! [`Page::serve`] answers on a listener: `/` and `/assets/...` are the page, whose files are built in;
//! `/api/...` is what it and scripts ask (`API.md` beside this file). A [`Source`] has the windows:
//! the live store or saved files. A query visits the windows of its range one by one and adds each
//! one's profile to a set of stacks, so that a long range needs memory for its distinct stacks alone; flame
//! graphs are pruned to what can be seen before they are sent. Where a source has windows merged, their frames
//! are read at once ([`cover`]), with the same answer; links and formats with addresses are read from windows alone.
//!
//! # Security
//! Names in profiles are untrusted: they leave as JSON texts, and the page's scripts put them
//! nowhere but into text nodes and onto a canvas. Every answer carries a policy that lets nothing run but
//! the page's own files. Only GET; no answer for another site's page or a foreign `Host`; where there is a
//! [`Token`], none without it but to probes; on loopback without one, none but to the [`Users`] that may see it. What the network holds of the server is bounded ([`crate::listen`]).

mod answer;
mod api;
mod api_stacks;
mod assets;
mod download;
mod engine;
mod failure;
mod filter;
mod flame;
mod functions;
mod grouping;
mod guard;
mod heat;
mod kept;
mod kind;
mod labels;
mod lines;
mod names;
mod narrowed;
mod query;
mod run;
mod sandwich;
mod search;
mod services;
mod size;
pub mod source;
mod stack_builder;
mod stacks;
mod status;
mod token;
mod trace;
mod users;
mod verdict;
mod view;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use tokio::net::TcpListener;

pub use self::query::AnswerFormat;
pub use self::source::{LiveSource, SavedSource, Source};
pub use self::status::{AgentStatus, StoreStatus};
pub use self::token::{BadToken, Token};
pub use self::users::Users;
use crate::listen::{self, Pool};
use crate::profile::{ArchiveError, Profile};

/// A profile as the bytes of a format; never called with JSON, which is the page's own.
pub type Encode = fn(&Profile, AnswerFormat) -> Result<Vec<u8>, ArchiveError>;

/// Is the agent's memory short just now? Asked between windows of a query, which is given up then.
pub type IsShort = Arc<dyn Fn() -> bool + Send + Sync>;

/// What queries may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Windows and merged spans that one query reads.
    pub windows: usize,
    /// Frames of all distinct stacks of a query together, four bytes each.
    pub frames: usize,
    /// About the bytes of all names of a query together.
    pub name_bytes: usize,
    /// Frames of the stacks that are kept for the next query; each id of a window that they are of counts as two.
    pub kept_frames: usize,
    /// About the bytes of the names and labels that are kept with them.
    pub kept_name_bytes: usize,
    /// About the bytes of memory of the profile that a query in another format than JSON makes.
    pub profile_bytes: usize,
    /// Bytes of the stacks as lines of text, where such a format is made of those.
    pub text_bytes: usize,
    /// Queries that run at a time.
    pub queries: usize,
    /// Queries that may wait for those.
    pub waiting: usize,
}

impl Limits {
    /// For the agent, whose memory is bounded: a query takes 100 MiB at most, the usual one a few.
    pub const AGENT: Self = Self {
        windows: 10_000,
        frames: 4_000_000,
        name_bytes: 16 << 20,
        kept_frames: 1_000_000,
        kept_name_bytes: 8 << 20,
        profile_bytes: 32 << 20,
        text_bytes: 16 << 20,
        queries: 1,
        waiting: 16,
    };
    /// For a process of its own that shows saved files.
    pub const VIEWER: Self = Self {
        windows: 10_000,
        frames: 200_000_000,
        name_bytes: 1 << 30,
        kept_frames: 50_000_000,
        kept_name_bytes: 256 << 20,
        profile_bytes: 4 << 30,
        text_bytes: 1 << 30,
        queries: 2,
        waiting: 64,
    };
}

/// The page over a source.
pub struct Page {
    /// Where the profiles come from.
    pub source: Arc<dyn Source>,
    /// How they are sent in formats that are not the page's own.
    pub encode: Encode,
    /// What queries may cost.
    pub limits: Limits,
    /// Is memory short?
    pub is_short: IsShort,
    /// Called by the thread of a query when its answer is made: gives memory back to the system.
    pub rest: fn(),
    /// The agent's own numbers; none where saved files are shown.
    pub status: Box<dyn Fn() -> Option<AgentStatus> + Send + Sync>,
    /// Names besides loopback's under which the page may be asked for.
    pub host_names: Vec<String>,
    /// Where a person looks at traces: an http or https address with `{trace_id}` or `{span_id}` in it.
    pub trace_url: Option<String>,
    /// What is asked of everybody who wants to see it; nothing where there is none.
    pub token: Option<Token>,
    /// Who may see it on loopback where no token is asked for; everybody where there are none.
    pub users: Option<Users>,
    /// Further paths under the page's address, for whoever may see the page.
    pub further: Router,
    /// Further paths for which no token is asked.
    pub probes: Router,
}

impl Page {
    /// Answers on `listener` until `shutdown` completes; requests that run are finished. Needs a runtime
    /// with I/O and timers; queries and the status have threads of their own.
    ///
    /// # Errors
    /// The listener has no address, or a thread cannot be started.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let address = listener.local_addr()?.ip();
        let is_local = address.is_loopback() && self.token.is_none();
        let users = self.users.clone().filter(|_| is_local);
        let hosts = Arc::new(guard::AllowedHosts::new(address, &self.host_names));
        let shared = Arc::new(api::Shared {
            queries: Pool::start("query", self.limits.queries, self.limits.waiting)?,
            statuses: Pool::start("status", 1, self.limits.waiting)?,
            engine: engine::Engine::new(self.source, self.limits),
            encode: self.encode,
            rest: self.rest,
            is_short: self.is_short,
            status: self.status,
            trace_url: self.trace_url,
        });
        let forgets = api::forget_when_short(Arc::clone(&shared));
        let beside = (self.further, self.probes);
        let router = router(shared, beside, self.token, hosts, users);
        tokio::select! {
            () = listen::serve(listener, router, shutdown) => {}
            () = forgets => {}
        }
        Ok(())
    }
}

/// The queries, each with what answers it; `API.md` has them all.
fn queries() -> [(&'static str, MethodRouter<Arc<api::Shared>>); 13] {
    [
        ("/api/status", get(api::status)),
        ("/api/services", get(api::services)),
        ("/api/windows", get(api::windows)),
        ("/api/flamegraph", get(api_stacks::flamegraph)),
        ("/api/functions", get(api_stacks::functions)),
        ("/api/search", get(api_stacks::search)),
        ("/api/sandwich", get(api_stacks::sandwiched)),
        ("/api/diff", get(api_stacks::diff)),
        ("/api/heat", get(api_stacks::heat)),
        ("/api/labels", get(api::labels)),
        ("/api/lines", get(api_stacks::lines)),
        ("/api/verdict", get(api_stacks::verdict)),
        ("/api/trace", get(api::trace)),
    ]
}

/// The page and its queries for who may see them, `further` paths for the same, and `probes` for everybody.
fn router(
    shared: Arc<api::Shared>,
    (further, probes): (Router, Router),
    token: Option<Token>,
    hosts: Arc<guard::AllowedHosts>,
    users: Option<Users>,
) -> Router {
    let pages = Router::new()
        .route("/", get(async || assets::asset("index.html")))
        .route("/favicon.ico", get(async || assets::asset("mark.svg")))
        .route(
            "/assets/{name}",
            get(async |Path(name): Path<String>| assets::asset(&name)),
        );
    let answered = queries().into_iter();
    let mut router = answered
        .fold(pages, |router, (path, handler)| router.route(path, handler))
        .with_state(shared);
    if let Some(users) = users.map(Arc::new) {
        router = router.layer(axum::middleware::from_fn_with_state(users, users::require));
    }
    router = router.merge(further).fallback(async || {
        let message = "There is nothing here: / is the page, /api/ the queries.\n";
        (axum::http::StatusCode::NOT_FOUND, message).into_response()
    });
    if let Some(token) = token.map(Arc::new) {
        router = router.layer(axum::middleware::from_fn_with_state(token, token::require));
    }
    let guard = axum::middleware::from_fn_with_state(hosts, guard::guard);
    router.merge(probes).layer(guard)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_documentation_has_every_query_and_no_other() {
        let headings = include_str!("API.md").lines();
        let named: Vec<&str> = headings
            .filter_map(|line| line.strip_prefix("### `GET ")?.strip_suffix('`'))
            .collect();
        let documented: BTreeSet<&str> = named.iter().copied().collect();
        assert_eq!(documented.len(), named.len(), "one is there twice");
        let routed: BTreeSet<&str> = super::queries().map(|(path, _)| path).into();
        assert_eq!(documented, routed);
    }

    #[test]
    fn the_documentation_names_no_query_that_there_is_not() {
        let routed = super::queries().map(|(path, _)| path);
        let text = include_str!("API.md");
        let is_word = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let named = text.match_indices("/api/").map(|(at, start)| {
            let rest = &text[at + start.len()..];
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            &text[at..at + start.len() + end]
        });
        let named: Vec<&str> = named.collect();
        assert!(named.len() > 20, "{named:?}");
        for path in named {
            assert!(routed.contains(&path), "{path}");
        }
    }
}
