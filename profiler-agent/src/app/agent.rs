//! The daemon: windows into the local store, its page, and to every exporter.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::codec::{decode_pprof, encode};
use super::collector::{Collector, CollectorConfig, CollectorError, WindowSink};
use super::destinations::{DestinationError, Destinations};
use super::own_signals;
use super::pipeline::{self, Outputs, Totals};
use super::reading::{Reader, Sources};
use super::reload::{destinations, reload};
use super::status::Status;
use super::tables::CachePlace;
use crate::collect::Selection;
use crate::collect::sideband::open::MappingRecords;
use crate::config::{AgentConfig, ConfigError, VariableError};
use crate::export::otlp;
use crate::page::{LiveSource, Page};
use crate::profile::SamplePeriod;
use crate::store::{Store, StoreError};
use crate::symbolize::{SymbolizeConfig, SymbolizerThread};
use crate::telemetry::endpoints;
use crate::telemetry::otlp::{OwnSignals, SignalError};

/// Windows that may wait for the pipeline.
const WINDOW_QUEUE: usize = 8;
/// How long samples may hold up the end of a window while they wait for unwind tables: less than [`NAMING`].
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the last window may take to be named after the signal; what has no name then stays without.
const NAMING: Duration = Duration::from_millis(800);
/// How long the agent's own signals may go on being sent at the end.
const LAST_SIGNALS: Duration = Duration::from_millis(500);
/// How long what ended may hold what is started again.
const RELEASE: Duration = Duration::from_secs(3);
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
    /// An exporter.
    #[error(transparent)]
    Destination(#[from] DestinationError),
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
    /// The environment's settings for the agent's own signals.
    #[error(transparent)]
    OwnVariable(#[from] VariableError),
    /// The agent's own signals.
    #[error(transparent)]
    OwnSignal(#[from] SignalError),
    /// A thread, a signal handler or the runtime.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AgentError {
    /// Has somebody else what is needed, perhaps for a moment only?
    fn is_held(&self) -> bool {
        match self {
            Self::Store(StoreError::InUse { .. }) => true,
            Self::Listen { source, .. } | Self::ListenTelemetry { source, .. } => {
                source.kind() == io::ErrorKind::AddrInUse
            }
            _ => false,
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

/// A configuration and where it comes from.
pub struct Settings<'a> {
    /// The configuration.
    pub config: AgentConfig,
    /// Reads it again, for SIGHUP; nothing where it is the embedded default.
    pub reread: &'a dyn Fn() -> Option<Result<AgentConfig, ConfigError>>,
    /// The environment's variables.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

/// Runs until SIGTERM or SIGINT. `ready` is told the page's address.
pub fn run(
    settings: &Settings<'_>,
    ready: impl Fn(std::net::SocketAddr),
) -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(system("starting the runtime"))?;
    let own = {
        let _entered = runtime.enter();
        own_signals::start(settings)?
    };
    let result = runtime.block_on(async {
        let mut signals = Signals::new().map_err(system("handling signals"))?;
        let mut config = settings.config.clone();
        let mut before = None;
        let mut ended: Option<Instant> = None;
        // What is not changed while it runs is changed by starting everything but the process again.
        loop {
            let started = Cell::new(false);
            let ready = |address| {
                started.set(true);
                ready(address);
            };
            match serve(config.clone(), settings, &mut signals, &own, &ready).await {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Restart(fresh)) => {
                    let (old, new) = (&config.telemetry, &fresh.telemetry);
                    if old.logs != new.logs || old.otlp != new.otlp {
                        tracing::warn!(
                            "telemetry.logs and telemetry.otlp are changed by a restart of the process alone"
                        );
                    }
                    before = Some(std::mem::replace(&mut config, *fresh));
                    ended = Some(Instant::now());
                    own.forget();
                }
                // What answered a last request holds the store or an address a moment longer.
                Err(error)
                    if !started.get()
                        && error.is_held()
                        && ended.is_some_and(|ended| ended.elapsed() < RELEASE) =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => match before.take() {
                    Some(old) if !started.get() => {
                        tracing::error!("the old configuration stays in effect: {error}");
                        config = old;
                    }
                    _ => return Err(error),
                },
            }
        }
    });
    if !own.are_off() {
        // The exporters' threads need the runtime that this one runs. What hangs ends with the process.
        runtime.block_on(async {
            let stopped = tokio::task::spawn_blocking(move || own.stop(LAST_SIGNALS));
            drop(tokio::time::timeout(LAST_SIGNALS, stopped).await);
        });
    }
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Why [`serve`] ended.
enum End {
    /// A signal asked for it.
    Stopped,
    /// It is to go on with this.
    Restart(Box<AgentConfig>),
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn serve(
    config: AgentConfig,
    settings: &Settings<'_>,
    signals: &mut Signals,
    own: &OwnSignals,
    ready: &impl Fn(std::net::SocketAddr),
) -> Result<End, AgentError> {
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

    let mut destinations = Destinations::start(destinations(&config, settings.environment)?)?;
    let (symbolizer, handle) =
        SymbolizerThread::spawn(SymbolizeConfig::default()).map_err(system("starting a thread"))?;
    let (windows, incoming) = sync_channel(WINDOW_QUEUE);
    let outputs = Outputs {
        store: Arc::clone(&store),
        outlets: destinations.outlets(),
        totals: Arc::clone(&totals),
    };
    let pipeline =
        pipeline::spawn(incoming, handle.clone(), outputs).map_err(system("starting a thread"))?;
    let hurry = handle.hurry();
    let symbols = handle.usage();
    let collector = Collector::start(
        collector_config(&config),
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
        outlets: destinations.outlets(),
        window: config.sampling.window.0,
    }));
    own.observe(Arc::clone(&reader) as _);
    let status = Status::new(
        config.sampling.window.0,
        Arc::clone(&collector.gauges),
        Arc::clone(&totals),
        (Arc::clone(&store), limits.max_bytes),
        destinations.outlets(),
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

    let mut config = config;
    let mut watch_over = tokio::time::interval(Duration::from_secs(1));
    let end = loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break End::Stopped,
            _ = signals.terminate.recv() => break End::Stopped,
            _ = signals.hangup.recv() => {
                if let Some(fresh) = reload(&mut config, settings, &mut destinations).await {
                    break End::Restart(Box::new(fresh));
                }
            }
            _ = watch_over.tick() => if collector.ended() { break End::Stopped },
        }
    };
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
    for (exporter, counts) in destinations.stop().await {
        tracing::info!(exporter, delivered = counts.delivered, samples = counts.samples, losses = ?counts.losses, "exported");
    }
    let _ = tokio::time::timeout(Duration::from_millis(300), page).await;
    tracing::info!(took = ?stop_started.elapsed(), "stopped");
    match collected {
        Ok(Ok((Ok(()), true))) => Ok(end),
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
        records: MappingRecords::BuildId,
        table_cache: (!directory.as_os_str().is_empty()).then(|| CachePlace {
            directory: directory.clone(),
            max_bytes: config.tables.cache_max_size.0,
        }),
        patience: PATIENCE,
        way: None,
        correlation: config.labels.correlation(),
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: stopped as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
