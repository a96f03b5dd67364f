//! The page, served on a port of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use profiler_agent::export::Format;
use profiler_agent::page::{
    AgentStatus, AnswerFormat, IsShort, Limits, Page, SavedSource, Source, Token,
};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId};
use serde_json::Value;

/// Where traces are said to be looked at.
pub(crate) const TRACE_URL: &str = "https://traces.example/{trace_id}?span={span_id}";

fn encode(profile: &Profile, format: AnswerFormat) -> Result<Vec<u8>, ArchiveError> {
    let format = match format {
        AnswerFormat::Json => return Err("JSON is the page's own".into()),
        AnswerFormat::Collapsed => Format::Collapsed,
        AnswerFormat::Pprof => Format::Pprof,
        AnswerFormat::Svg => Format::Svg,
    };
    Ok(format.encode(profile)?)
}

/// Windows of an agent that runs.
struct Live(SavedSource);

impl Source for Live {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        self.0.extent()
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        self.0.windows(from, until, visit)
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        self.0.profile(id)
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

/// A page that serves on its own thread until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    /// Serves these profiles as saved files.
    pub(crate) fn files(profiles: Vec<Profile>, limits: Limits) -> Self {
        let files = profiles
            .into_iter()
            .enumerate()
            .map(|(number, profile)| (format!("file-{number}.pb.gz"), 100, profile));
        Self::new(Arc::new(SavedSource::new(files)), limits)
    }

    /// Serves these profiles as if they had just been taken.
    pub(crate) fn live(profiles: Vec<Profile>) -> Self {
        let files = profiles
            .into_iter()
            .map(|profile| (String::new(), 100, profile));
        Self::new(Arc::new(Live(SavedSource::new(files))), Limits::VIEWER)
    }

    /// Serves this source.
    pub(crate) fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
        Self::asking(source, limits, None)
    }

    /// Serves this source to whoever has the token.
    pub(crate) fn asking(source: Arc<dyn Source>, limits: Limits, token: Option<Token>) -> Self {
        Self::with(source, limits, token, Arc::new(|| false))
    }

    /// Serves this source where memory is short when that says so.
    pub(crate) fn short(source: Arc<dyn Source>, limits: Limits, is_short: IsShort) -> Self {
        Self::with(source, limits, None, is_short)
    }

    fn with(
        source: Arc<dyn Source>,
        limits: Limits,
        token: Option<Token>,
        is_short: IsShort,
    ) -> Self {
        let page = Page {
            token,
            users: None,
            is_short,
            source,
            encode,
            limits,
            rest: || {},
            status: Box::new(|| {
                Some(AgentStatus {
                    cpu_seconds: 1.5,
                    window_seconds: 10.0,
                    next_window_seconds: Some(7.0),
                    ..AgentStatus::default()
                })
            }),
            host_names: Vec::new(),
            further: Router::new().route("/metrics", get(async || "numbers")),
            probes: Router::new().route("/healthz", get(async || "healthy")),
            trace_url: Some(TRACE_URL.to_owned()),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let shutdown = async {
                    // An error is the sender's drop: the same.
                    let _ = stopped.await;
                };
                page.serve(listener, shutdown).await.unwrap();
            });
        });
        Self {
            address: told.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Served {
    /// Status, head and body of the answer to a request with these lines after the request line.
    pub(crate) fn request(&self, line: &str, headers: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.request(&format!("GET {path}"), "Host: localhost\r\n");
        (status, body)
    }

    /// Head and body of a successful answer.
    pub(crate) fn bytes(&self, path: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|found| found == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(answer[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        assert!(
            head.starts_with("http/1.1 200") && !head.contains("chunked"),
            "{head}"
        );
        (head, answer[end + 4..].to_vec())
    }

    /// Status and body of the answer.
    pub(crate) fn raw(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|found| found == b"\r\n\r\n")
            .unwrap();
        let status = std::str::from_utf8(&answer[9..12]).unwrap();
        (status.parse().unwrap(), answer[end + 4..].to_vec())
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn refused(&self, path: &str) -> String {
        let (status, body) = self.get(path);
        assert_eq!(status, 400, "{path}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["error"].as_str().unwrap().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            assert!(joined.is_ok() || std::thread::panicking());
        }
    }
}
