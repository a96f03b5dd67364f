//! The daemon: windows into the local store, its page, and OTLP export where an endpoint is set.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::clock;
use super::codec::{decode_pprof, encode};
use super::collector::{Collector, CollectorConfig, CollectorError, WindowSink};
use super::pipeline::{self, Outputs, Totals};
use super::reading::{Delivered, Reader, Sources};
use super::status::Status;
use super::tables::CachePlace;
use crate::collect::Selection;
use crate::config::{AgentConfig, VariableError};
use crate::export::otlp::{self, Client};
use crate::export::queue::{self, Backoff, Queue, QueueHandle};
use crate::page::{LiveSource, Page};
use crate::profile::SamplePeriod;
use crate::store::{Store, StoreError};
use crate::symbolize::{SymbolizeConfig, SymbolizerThread};
use crate::telemetry::attempts::Attempts;
use crate::telemetry::endpoints;
use crate::telemetry::observed::Observed;
use crate::telemetry::otlp::{SignalError, Signals};

/// What the receiver is called in the agent's own signals.
const DESTINATION: &str = "otlp";
/// Windows that may wait for the pipeline.
const WINDOW_QUEUE: usize = 8;
/// How long the exporter may go on sending after the signal.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the last window may take to be named after the signal; what has no name then stays without.
const NAMING: Duration = Duration::from_millis(800);
/// How long the agent's own signals may go on being sent at the end.
const LAST_SIGNALS: Duration = Duration::from_millis(500);
/// How long everything else may take after that.
const GRACE: Duration = Duration::from_millis(1500);

/// Why the agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The collector.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The environment's export settings.
    #[error(transparent)]
    Export(#[from] otlp::ConfigError),
    /// The exporter.
    #[error("OTLP export: {0}")]
    Client(#[from] otlp::ClientError),
    /// The page's address.
    #[error(
        "the page cannot be served on {address}: {source}. Is another agent running? `page.endpoint` chooses another address."
    )]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address of the agent's own metrics and probes.
    #[error("{address} of `telemetry.endpoint` cannot be listened on: {source}")]
    ListenTelemetry {
        /// The address.
        address: std::net::SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread, a signal handler or the runtime.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The environment's settings for the agent's own signals.
    #[error(transparent)]
    SignalVariable(#[from] VariableError),
    /// The agent's own signals.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

fn system(what: &'static str) -> impl Fn(io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

/// Runs until SIGTERM or SIGINT. `ready` is told the page's address.
pub fn run(
    config: &AgentConfig,
    environment: impl Fn(&str) -> Option<String>,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), AgentError> {
    let own = &config.telemetry;
    let own_otlp = own.otlp.config(&environment, own_resource())?;
    let export = otlp::Config::from_environment(environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(system("starting the runtime"))?;
    let signals = {
        let _entered = runtime.enter();
        Signals::start(&own.logs.config(), &own_otlp, clock::boot_now().0)?
    };
    let result = runtime.block_on(serve(config, export, &signals, ready));
    if !signals.are_off() {
        // The exporters' threads need the runtime that this one runs. What hangs ends with the process.
        runtime.block_on(async {
            let stopped = tokio::task::spawn_blocking(move || signals.stop(LAST_SIGNALS));
            drop(tokio::time::timeout(LAST_SIGNALS, stopped).await);
        });
    }
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Who the agent is in its own signals.
fn own_resource() -> Vec<(String, String)> {
    let host = otlp::Host::read();
    let run = RandomState::new().hash_one(());
    [
        ("service.name", Some("profiler-agent".to_owned())),
        (
            "service.version",
            Some(env!("CARGO_PKG_VERSION").to_owned()),
        ),
        ("service.instance.id", Some(format!("{run:016x}"))),
        ("host.id", host.id),
        ("host.name", host.name),
        ("host.arch", host.arch.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?)))
    .collect()
}

async fn serve(
    config: &AgentConfig,
    export: Option<otlp::Config>,
    signals: &Signals,
    ready: impl FnOnce(std::net::SocketAddr),
) -> Result<(), AgentError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("handling SIGINT"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system("handling SIGTERM"))?;
    let endpoint = config.page.endpoint;
    let listener = TcpListener::bind(endpoint)
        .await
        .map_err(|source| AgentError::Listen {
            address: endpoint,
            source,
        })?;
    let address = listener
        .local_addr()
        .map_err(system("the page's address"))?;
    let own_listener = match config.telemetry.endpoint.0 {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.map_err(|source| AgentError::ListenTelemetry { address, source })?)
        }
    };
    let limits = crate::store::Limits {
        max_bytes: config.store.max_size.0,
        max_age: config.store.max_age.0,
    };
    let store = Arc::new(Store::open(&config.store.directory, limits)?);
    let totals = Arc::new(Mutex::new(Totals::default()));
    let (stopping, stopped) = watch::channel(false);

    let exporter = match export {
        Some(export) => Some(exporter(export, stopped.clone())?),
        None => None,
    };
    let (symbolizer, handle) =
        SymbolizerThread::spawn(SymbolizeConfig::default()).map_err(system("starting a thread"))?;
    let (windows, incoming) = sync_channel(WINDOW_QUEUE);
    let outputs = Outputs {
        store: Arc::clone(&store),
        export: exporter
            .as_ref()
            .map(|exporter| (exporter.queue.clone(), exporter.options.clone())),
        totals: Arc::clone(&totals),
    };
    let pipeline =
        pipeline::spawn(incoming, handle.clone(), outputs).map_err(system("starting a thread"))?;
    let hurry = handle.hurry();
    let symbols = handle.usage();
    let collector = Collector::start(
        collector_config(config),
        WindowSink {
            windows,
            new_locations: Box::new(move |frames| handle.prefetch(frames)),
        },
    )?;
    let reader = Arc::new(Reader::new(Sources {
        gauges: Arc::clone(&collector.gauges),
        totals: Arc::clone(&totals),
        symbols,
        store: (Arc::clone(&store), limits.max_bytes),
        destinations: exporter.iter().map(Exporter::delivered).collect(),
        window: config.sampling.window.0,
    }));
    signals.observe(Arc::clone(&reader) as _);
    let status = Status::new(
        config.sampling.window.0,
        Arc::clone(&collector.gauges),
        Arc::clone(&totals),
        (Arc::clone(&store), limits.max_bytes),
        exporter.as_ref().map(|exporter| exporter.queue.clone()),
    );
    let page = Page {
        source: Arc::new(LiveSource::new(store, Arc::new(decode_pprof))),
        encode,
        limits: crate::page::Limits::AGENT,
        status: Box::new(move || Some(status.now())),
        host_names: config.page.host_names.clone(),
        trace_url: config.page.trace_url.0.clone(),
        further: endpoints::routes(Arc::clone(&reader) as _),
    };
    let page = tokio::spawn(page.serve(listener, until_stopped(stopped.clone())));
    if let Some(listener) = own_listener {
        let subject = Arc::clone(&reader) as _;
        tokio::spawn(endpoints::serve(listener, subject, until_stopped(stopped)));
    }
    ready(address);

    let mut watch_over = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = watch_over.tick() => if collector.ended() { break },
        }
    }
    let stop_started = Instant::now();
    reader.stop();
    tracing::info!("stopping");
    let collected = tokio::task::spawn_blocking(move || {
        let stopped = collector.stop();
        // The pipeline ends when the collector's end of the channel is gone.
        let piped = pipeline.join().is_ok();
        (stopped, piped && symbolizer.join().is_ok())
    });
    let mut collected = pin!(collected);
    let collected = match tokio::time::timeout(NAMING, &mut collected).await {
        Ok(collected) => Ok(collected),
        Err(_) => {
            hurry.up();
            tokio::time::timeout(GRACE, collected).await
        }
    };
    // A receiver of this channel is gone when its task is done: nothing to tell it.
    let _ = stopping.send(true);
    if let Some(exporter) = exporter {
        let _ = tokio::time::timeout(FLUSH + Duration::from_millis(200), exporter.task).await;
        let counts = exporter.queue.counts();
        tracing::info!(delivered = counts.delivered, samples = counts.samples, losses = ?counts.losses, "exported");
    }
    let _ = tokio::time::timeout(Duration::from_millis(300), page).await;
    tracing::info!(took = ?stop_started.elapsed(), "stopped");
    match collected {
        Ok(Ok((Ok(()), true))) => Ok(()),
        Ok(Ok((Err(error), _))) => Err(error.into()),
        Ok(Ok((Ok(()), false)) | Err(_)) => {
            Err(system("a thread panicked")(io::ErrorKind::Other.into()))
        }
        Err(_) => Err(system("the last window is not done in time")(
            io::ErrorKind::TimedOut.into(),
        )),
    }
}

fn collector_config(config: &AgentConfig) -> CollectorConfig {
    let directory = &config.tables.cache_directory;
    CollectorConfig {
        period: SamplePeriod::from_hertz(config.sampling.frequency),
        selection: Selection::All,
        selected: Vec::new(),
        window: config.sampling.window.0,
        table_budget: config.tables.max_size.0,
        table_cache: (!directory.as_os_str().is_empty()).then(|| CachePlace {
            directory: directory.clone(),
            max_bytes: config.tables.cache_max_size.0,
        }),
        correlation: config.labels.correlation(),
    }
}

struct Exporter {
    queue: QueueHandle,
    attempts: Arc<Attempts>,
    options: otlp::Options,
    task: tokio::task::JoinHandle<()>,
}

impl Exporter {
    fn delivered(&self) -> Delivered {
        let queue = self.queue.clone();
        Delivered {
            name: DESTINATION.to_owned(),
            counts: Box::new(move || queue.counts()),
            attempts: Arc::clone(&self.attempts),
        }
    }
}

/// Starts to deliver to the endpoint that the environment names.
fn exporter(config: otlp::Config, stopped: watch::Receiver<bool>) -> Result<Exporter, AgentError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let name = config.endpoint.to_string();
    tracing::info!(endpoint = %name, "exporting OTLP profiles");
    let options = config.options(otlp::Host::read());
    let attempts = Arc::new(Attempts::default());
    let client = Observed::new(Client::new(config)?, DESTINATION, Arc::clone(&attempts));
    let handle = QueueHandle::new(Queue::new(queue::Limits::default(), Backoff::default()));
    let shared = handle.clone();
    let task = tokio::spawn(async move {
        queue::run(&name, &shared, &client, until_stopped(stopped), FLUSH).await;
    });
    Ok(Exporter {
        queue: handle,
        attempts,
        options,
        task,
    })
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: stopped as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
