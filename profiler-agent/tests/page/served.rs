//! The page, served on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use profiler_agent::export::Format;
use profiler_agent::page::{AgentStatus, AnswerFormat, Codec, Limits, Page, SavedSource, Source};
use profiler_agent::profile::{
    ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId, filter, merge,
};

/// What the agent gives the page.
const CODEC: Codec = Codec {
    encode,
    merge: |profiles| merge(profiles),
    filter: |profile, keep| filter(profile, None, |process, _| keep(process)),
};

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
    ) -> Result<(), ArchiveError> {
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
        let page = Page {
            source,
            codec: CODEC,
            limits,
            status: Box::new(|| {
                Some(AgentStatus {
                    cpu_seconds: 1.5,
                    window_seconds: 10.0,
                    next_window_seconds: Some(7.0),
                    ..AgentStatus::default()
                })
            }),
            host_names: Vec::new(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_io()
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

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let joined = thread.join();
            assert!(joined.is_ok() || std::thread::panicking());
        }
    }
}
