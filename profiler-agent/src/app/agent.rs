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

use super::codec::{decode_pprof, encode};
use super::collector::{Collector, CollectorConfig, CollectorError, WindowSink};
use super::pipeline::{self, Outputs, Totals};
use super::status::Status;
use super::tables::CachePlace;
use crate::collect::Selection;
use crate::config::AgentConfig;
use crate::export::otlp::{self, Client};
use crate::page::{LiveSource, Page};
use crate::profile::SamplePeriod;
use crate::spool;
use crate::store::{Store, StoreError};
use crate::symbolize::{SymbolizeConfig, SymbolizerThread};

/// Windows that may wait for the pipeline.
const WINDOW_QUEUE: usize = 8;
/// How long the exporter may go on sending after the signal.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the last window may take to be named after the signal; what has no name then stays without.
const NAMING: Duration = Duration::from_millis(800);
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
    /// A thread, a signal handler or the runtime.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
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
    let export = otlp::Config::from_environment(environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(system("starting the runtime"))?;
    let result = runtime.block_on(serve(config, export, ready));
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

async fn serve(
    config: &AgentConfig,
    export: Option<otlp::Config>,
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
        // Every hasher of the standard library has keys of its own.
        run: RandomState::new().hash_one(()),
    };
    let pipeline =
        pipeline::spawn(incoming, handle.clone(), outputs).map_err(system("starting a thread"))?;
    let hurry = handle.hurry();
    let collector = Collector::start(
        collector_config(config),
        WindowSink {
            windows,
            new_locations: Box::new(move |frames| handle.prefetch(frames)),
        },
    )?;
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
    };
    let page = tokio::spawn(page.serve(listener, until_stopped(stopped)));
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
    queue: spool::Handle,
    options: otlp::Options,
    task: tokio::task::JoinHandle<()>,
}

/// Starts to deliver to the endpoint that the environment names.
fn exporter(config: otlp::Config, stopped: watch::Receiver<bool>) -> Result<Exporter, AgentError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let name = config.endpoint.to_string();
    tracing::info!(endpoint = %name, "exporting OTLP profiles");
    let options = config.options(otlp::Host::read());
    let client = Client::new(config)?;
    let config = spool::Config::default();
    let started = spool::start(&name, config, None, client);
    let (queue, driver) = started.map_err(system("starting the exporter"))?;
    let task = tokio::spawn(driver.run(until_stopped(stopped), FLUSH));
    Ok(Exporter {
        queue,
        options,
        task,
    })
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: stopped as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
