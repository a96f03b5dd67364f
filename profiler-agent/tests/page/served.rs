//! The page, served on a port of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use profiler_agent::page::{AgentStatus, Codec, Limits, Page, SavedSource, Source};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Process, Profile, UnixTime, WindowId};

/// Stands for the encoders of other stages: tells what it was given.
pub(crate) const CODEC: Codec = Codec {
    encode: |profile, format| {
        let mut services: Vec<&str> = profile.processes.iter().map(|p| p.service()).collect();
        services.sort_unstable();
        services.dedup();
        Ok(format!(
            "{format:?} {} {}",
            profile.sample_count(),
            services.join("+")
        )
        .into_bytes())
    },
    merge: |profiles| {
        let mut merged = profiles[0].clone();
        for profile in &profiles[1..] {
            // Enough for counting: the stand-in encoder looks at nothing else.
            merged.processes.extend(profile.processes.iter().cloned());
            merged.samples.extend(profile.samples.iter().cloned());
        }
        merged
    },
    filter: |profile, keep| {
        let mut kept = profile.clone();
        let wanted: Vec<bool> = profile.processes.iter().map(|p| keep(p)).collect();
        kept.samples
            .retain(|sample| wanted[profile.threads[sample.thread.0 as usize].process as usize]);
        let keep_process = |p: &Arc<Process>| keep(p);
        kept.processes.retain(keep_process);
        kept
    },
};

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

    fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
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
