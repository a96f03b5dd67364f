//! Serves the page over a made-up machine, to look at it: `cargo run --example page [PORT] [MODE]`.
//!
//! Modes: `live` (the last two hours, a new window every 10 s), `saved` (three files), `empty` (an agent that
//! was started just now), `many` (one file with 200,000 distinct stacks).
#![expect(
    clippy::unwrap_used,
    reason = "an example stops at what it does not expect"
)]

#[path = "../tests/demo/mod.rs"]
mod demo;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use demo::shop;
use profiler_agent::export::Format;
use profiler_agent::page::{
    AgentStatus, AnswerFormat, Limits, Page, SavedSource, Source, StoreStatus,
};
use profiler_agent::profile::{
    ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId, WindowSummary,
};

const SECOND: u64 = 1_000_000_000;
const WINDOW: u64 = 10 * SECOND;
const KEPT: u64 = 720;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

/// Makes windows when they are asked for; `started` is when the deployment is counted from.
struct Shop {
    started: u64,
    made: Mutex<HashMap<u64, Arc<Profile>>>,
}

impl Shop {
    fn window(&self, number: u64) -> Arc<Profile> {
        let mut made = self.made.lock().unwrap();
        let age = (self.started / WINDOW).saturating_sub(number);
        let make = || Arc::new(shop::window(UnixTime(number * WINDOW), age));
        Arc::clone(made.entry(number).or_insert_with(make))
    }
}

impl Source for Shop {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        let last = now() / WINDOW;
        Ok(Some((
            UnixTime((last - KEPT) * WINDOW),
            UnixTime(last * WINDOW),
        )))
    }
    fn windows(
        &self,
        from: UnixTime,
        until: UnixTime,
        visit: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        let last = now() / WINDOW;
        let first = (from.0 / WINDOW).max(last - KEPT);
        for number in first..until.0.div_ceil(WINDOW).min(last) {
            let profile = self.window(number);
            visit(ArchivedWindow {
                id: WindowId(number),
                start: profile.start,
                end: profile.end,
                bytes: 20_000,
                summary: WindowSummary::of(&profile),
            });
        }
        Ok(Vec::new())
    }
    fn profile(&self, id: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        Ok(Some(self.window(id.0)))
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

struct Empty;

impl Source for Empty {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        Ok(None)
    }
    fn windows(
        &self,
        _: UnixTime,
        _: UnixTime,
        _: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        Ok(Vec::new())
    }
    fn profile(&self, _: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        Ok(None)
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

fn source(mode: &str) -> Arc<dyn Source> {
    let start = now() - 600 * SECOND;
    match mode {
        "live" => Arc::new(Shop {
            started: now(),
            made: Mutex::default(),
        }),
        "empty" => Arc::new(Empty),
        "saved" => Arc::new(SavedSource::new([
            (
                "before.pb.gz".to_owned(),
                20_000,
                shop::window(UnixTime(start), 300),
            ),
            (
                "after.pb.gz".to_owned(),
                21_000,
                shop::window(UnixTime(start + 60 * SECOND), 10),
            ),
            (
                "merge.pb.gz".to_owned(),
                19_000,
                shop::window(UnixTime(start + 120 * SECOND), 160),
            ),
        ])),
        "many" => Arc::new(SavedSource::new([(
            "monolith.pb.gz".to_owned(),
            9_000_000,
            shop::many_stacks(UnixTime(start), 200_000),
        )])),
        other => panic!("mode {other:?}: give live, saved, empty or many"),
    }
}

fn status(started: u64) -> AgentStatus {
    let elapsed = (now() - started) as f64 / SECOND as f64;
    AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: started / 1_000_000,
        cpus: 4,
        cpu_seconds: 31.0 + elapsed * 0.008,
        cpu_share: Some(0.0079),
        resident_bytes: 47 << 20,
        window_seconds: 10.0,
        next_window_seconds: Some((WINDOW - now() % WINDOW) as f64 / SECOND as f64),
        samples: 884_213,
        stacks: 884_213,
        complete_stacks: 881_907,
        lost_samples: 24,
        losses: [
            ("ring_full".to_owned(), 24),
            ("debug_info_budget".to_owned(), 1),
        ]
        .into(),
        store: Some(StoreStatus {
            windows: KEPT,
            used_bytes: 31 << 20,
            merged_bytes: 8 << 20,
            file_bytes: 64 << 20,
            max_bytes: 512 << 20,
            set_aside: Vec::new(),
        }),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(4100, |port| port.parse().unwrap());
    let mode = arguments.next().unwrap_or_else(|| "live".to_owned());
    let live = mode == "live" || mode == "empty";
    let started = now();
    let page = Page {
        source: source(&mode),
        encode: |profile, format| {
            let format = match format {
                AnswerFormat::Collapsed => Format::Collapsed,
                AnswerFormat::Svg => Format::Svg,
                AnswerFormat::Pprof | AnswerFormat::Json => Format::Pprof,
            };
            Ok(format.encode(profile)?)
        },
        limits: Limits::VIEWER,
        rest: || {},
        status: Box::new(move || live.then(|| status(started))),
        host_names: Vec::new(),
        token: None,
        users: None,
        is_short: Arc::new(|| false),
        further: Default::default(),
        probes: Default::default(),
        trace_url: Some("https://traces.example/trace/{trace_id}".to_owned()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .unwrap();
        println!("http://{}/", listener.local_addr().unwrap());
        page.serve(listener, std::future::pending()).await.unwrap();
    });
}
