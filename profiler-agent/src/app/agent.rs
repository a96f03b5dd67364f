//! The daemon: windows into the local store, its page, and to every exporter.

mod error;
mod parts;

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use self::parts::{collector_config, is_short};
use super::allocator::give_memory_back;
use super::aside::aside;
use super::codec::{decode_window, encode};
use super::collector::{Collector, WindowSink};
use super::destinations::{Destinations, log_end};
use super::economy::{Economy, Shortage};
use super::memory_limit::MemoryLimit;
use super::merging::Merging;
use super::observations::{Observations, Sources};
use super::own_signals;
use super::pipeline::{self, Outputs, Totals};
use super::reload::{InEffect, Outcome, destinations, limits, reload};
use super::restart::{Next, Starts};
use super::serving::Serving;
use super::signals::Signals;
use super::{page_token, page_users};
use crate::config::AgentConfig;
use crate::page::{LiveSource, Page};
use crate::profile::{Losses, SampleLoss};
use crate::store::Store;
use crate::symbolize::SymbolizerThread;
use crate::telemetry::otlp::OwnSignals;
use crate::telemetry::{endpoints, own_profile};

pub use super::settings::Settings;
pub use error::AgentError;

/// Windows that may wait for the pipeline.
const WINDOW_QUEUE: usize = 8;
/// How long the last window may take to be named after the signal; what has no name then stays without.
const NAMING: Duration = Duration::from_millis(800);
/// How long the agent's own signals may go on being sent at the end.
const LAST_SIGNALS: Duration = Duration::from_millis(500);
/// How long everything else may take after that.
const GRACE: Duration = Duration::from_millis(1500);
/// How long it may take before everything is started again: nobody waits for the end of the process then.
const LATE: Duration = Duration::from_secs(60);
/// How long all of a stop may take together: with the agent's own signals it ends within five seconds.
const STOP: Duration = Duration::from_millis(4200);

fn system(what: &'static str) -> impl Fn(io::Error) -> AgentError {
    move |source| AgentError::System { what, source }
}

/// Runs until SIGTERM or SIGINT. `ready` is told the page's address.
pub fn run(
    settings: &Settings<'_>,
    ready: impl Fn(std::net::SocketAddr),
) -> Result<(), AgentError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Nothing that may hang runs there: names, queries, metrics and the stop have threads of their own.
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(system("starting the runtime"))?;
    let own = {
        let _entered = runtime.enter();
        own_signals::start(settings)?
    };
    let result = runtime.block_on(async {
        let mut signals = Signals::new().map_err(system("handling signals"))?;
        let mut starts = Starts::new(settings.config.clone());
        let in_effect = Arc::new(InEffect::default());
        let mut carried = Losses::default();
        let mut failing: Option<Instant> = None;
        let mut came = Came::First;
        // What is not changed while it runs is changed by starting everything but the process again.
        loop {
            let started = Cell::new(false);
            let ready = |address| {
                started.set(true);
                ready(address);
            };
            let with = With {
                settings,
                own: &own,
                in_effect: &in_effect,
                came: came.clone(),
            };
            let config = starts.config().clone();
            match serve(config, with, &mut signals, &mut carried, &ready).await {
                Ok(End::Stopped) => return Ok(()),
                Ok(End::Restart { old, new }) => {
                    starts.restart(*old, *new);
                    (failing, came) = (None, Came::Read);
                    own.forget();
                }
                Err(error) if started.get() => return Err(error),
                Err(error) => {
                    let first = *failing.get_or_insert_with(Instant::now);
                    let interval = match starts.failed(error.failure(), first.elapsed()) {
                        Next::Fail => return Err(error),
                        Next::RollBack => {
                            failing = None;
                            came = Came::Back(error.to_string());
                            continue;
                        }
                        Next::Again(interval) => interval,
                    };
                    tracing::debug!("the start is tried again: {error}");
                    if matches!(came, Came::Back(_)) {
                        tracing::error!("what ran before does not start yet: {error}");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(interval) => {}
                        _ = signals.interrupt.recv() => return Ok(()),
                        _ = signals.terminate.recv() => return Ok(()),
                        _ = signals.hangup.recv() => {
                            if let Some(Ok(fresh)) = (settings.reread)() {
                                starts.replace(fresh);
                                (failing, came) = (None, Came::Read);
                            }
                        }
                    }
                }
            }
        }
    });
    if !own.are_off() {
        // The exporters' threads need the runtime that this one runs. What hangs ends with the process.
        runtime.block_on(async {
            match aside("stop signals", move || own.stop(LAST_SIGNALS)) {
                Ok(stopped) => drop(tokio::time::timeout(LAST_SIGNALS, stopped).await),
                Err(error) => tracing::warn!(%error, "the last own signals are not sent"),
            }
        });
    }
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

/// Why [`serve`] ended.
enum End {
    /// A signal asked for it.
    Stopped,
    /// `old` was in effect; it is to go on with `new`.
    Restart {
        old: Box<AgentConfig>,
        new: Box<AgentConfig>,
    },
}

/// What outlives a start of everything again.
struct With<'a> {
    settings: &'a Settings<'a>,
    own: &'a OwnSignals,
    in_effect: &'a Arc<InEffect>,
    came: Came,
}

/// How a configuration came to be started.
#[derive(Clone, Debug)]
enum Came {
    /// The process begins with it.
    First,
    /// It was read while another one was in effect.
    Read,
    /// It was in effect before; why what was to follow it does not start.
    Back(String),
}

fn lock(totals: &Mutex<Totals>) -> MutexGuard<'_, Totals> {
    totals.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    config: AgentConfig,
    with: With<'_>,
    signals: &mut Signals,
    carried: &mut Losses,
    ready: &impl Fn(std::net::SocketAddr),
) -> Result<End, AgentError> {
    let With { settings, own, .. } = with;
    let token = page_token::read(&config.page.token_file)?;
    let users = page_users::read(&config.page.users)?;
    let users = (!config.page.allow_unauthenticated).then_some(users);
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
    let limits = limits(&config);
    let store = Arc::new(Store::open(&config.store.directory, limits)?);
    let totals = Arc::new(Mutex::new(Totals::default()));

    let memory = MemoryLimit::of_this_process();
    let economy = Economy::within(
        memory.as_ref().map(|limit| limit.bytes),
        config.tables.max_size.0,
    );
    let (queries, shortage) = (economy.queries, Shortage::default());
    let is_short = is_short(memory.clone());
    let own_memory = memory.clone();
    let wanted = destinations(&config, settings.environment)?;
    let mut destinations = Destinations::start(wanted).await?;
    let (symbolizer, handle) = SymbolizerThread::spawn(economy.names.clone(), shortage.flag())
        .map_err(system("starting a thread"))?;
    let (windows, incoming) = sync_channel(WINDOW_QUEUE);
    let outputs = Outputs {
        store: Arc::clone(&store),
        outlets: destinations.outlets(),
        totals: Arc::clone(&totals),
    };
    let pipeline =
        pipeline::spawn(incoming, handle.clone(), outputs).map_err(system("starting a thread"))?;
    let merging = Merging::start(Arc::clone(&store), economy.merging, shortage.clone())
        .map_err(system("starting a thread"))?;
    let hurry = handle.hurry();
    let symbols = handle.usage();
    let collector = match Collector::start(
        collector_config(&config, economy, memory, shortage),
        WindowSink {
            windows,
            new_locations: Box::new(move |frames| handle.prefetch(frames)),
        },
    ) {
        Ok(collector) => collector,
        Err(error) => {
            // What has started holds the store, spools and directories: it ends before anything is tried again.
            let threads = tokio::task::spawn_blocking(move || {
                drop(merging);
                (pipeline.join(), symbolizer.join())
            });
            destinations.stop().await;
            drop(tokio::time::timeout(GRACE, threads).await);
            return Err(error.into());
        }
    };
    // What an earlier start lost is this one's to tell.
    let late = carried.take();
    lock(&totals).losses.merge(&late);
    let observations = Arc::new(Observations::new(Sources {
        gauges: Arc::clone(&collector.gauges),
        totals: Arc::clone(&totals),
        symbols,
        store: (Arc::clone(&store), limits.max_bytes),
        outlets: destinations.outlets(),
        window: config.sampling.window.0,
        in_effect: Arc::clone(with.in_effect),
    }));
    own.observe(Arc::clone(&observations) as _);
    let probes = endpoints::probes(Arc::clone(&observations) as _);
    let metrics = endpoints::metrics(Arc::clone(&observations) as _);
    let metrics = metrics.map_err(system("starting a thread"))?;
    let own_profile = own_signals::profile(&config.telemetry, own_memory);
    let own_profile = own_profile::routes(own_profile).map_err(system("starting a thread"))?;
    let metrics = metrics.merge(own_profile);
    let of_page = Arc::clone(&observations);
    let page = Page {
        source: Arc::new(LiveSource::new(store, Arc::new(decode_window))),
        encode,
        limits: queries,
        is_short,
        rest: give_memory_back,
        status: Box::new(move || Some(of_page.status())),
        host_names: config.page.host_names.clone(),
        trace_url: config.page.trace_url.0.clone(),
        token,
        users,
        further: metrics.clone(),
        probes: probes.clone(),
    };
    let own_listener = own_listener.map(|listener| (listener, probes.merge(metrics)));
    let serving = Serving::start(page, listener, own_listener);
    ready(address);

    let names = |destinations: &Destinations| -> Vec<String> {
        let all = destinations.in_effect().into_iter();
        all.map(|destination| destination.name.clone()).collect()
    };
    let report = |outcome: &Outcome, destinations: &Destinations| {
        with.in_effect.report(outcome, &names(destinations));
    };
    match with.came {
        Came::First => {}
        Came::Read => report(&Outcome::Restarted, &destinations),
        Came::Back(reason) => report(&Outcome::RolledBack(reason), &destinations),
    }
    let mut config = config;
    let mut watch_over = tokio::time::interval(Duration::from_secs(1));
    let mut end = loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break End::Stopped,
            _ = signals.terminate.recv() => break End::Stopped,
            _ = signals.hangup.recv() => {
                let outcome = reload(&mut config, settings, &mut destinations).await;
                report(&outcome, &destinations);
                if let Outcome::Restart(new) = outcome {
                    break End::Restart { old: Box::new(config), new };
                }
            }
            _ = watch_over.tick() => {
                if collector.ended() {
                    break End::Stopped;
                }
                with.in_effect.missing.are(destinations.retry().await);
            }
        }
    };
    let stop_started = Instant::now();
    observations.stop();
    let sampled = Arc::clone(&collector.gauges);
    tracing::info!("stopping");
    let collected = aside("stop", move || {
        let stopped = collector.stop();
        // The pipeline ends when the collector's end of the channel is gone.
        let piped = pipeline.join().is_ok();
        drop(merging);
        (stopped, piped && symbolizer.join().is_ok())
    });
    let collected = collected.map_err(system("starting a thread"))?;
    let mut collected = pin!(collected);
    let collected = match tokio::time::timeout(NAMING, &mut collected).await {
        Ok(collected) => Ok(collected),
        Err(_) => {
            hurry.up();
            let is_restart = matches!(end, End::Restart { .. });
            let patience = if is_restart { LATE } else { GRACE };
            tokio::select! {
                collected = tokio::time::timeout(patience, &mut collected) => collected,
                () = signals.stop(), if is_restart => {
                    end = End::Stopped;
                    tokio::time::timeout(GRACE, collected).await
                }
            }
        }
    };
    // What was waited for before a restart does not count.
    let left = if matches!(end, End::Restart { .. }) {
        STOP
    } else {
        STOP.saturating_sub(stop_started.elapsed())
    };
    let (destinations, ()) = tokio::join!(
        tokio::time::timeout(left, destinations.stop()),
        serving.stop()
    );
    match destinations {
        Ok(all) => {
            for (exporter, counts) in all {
                log_end(&exporter, &counts);
            }
        }
        Err(_) => tracing::warn!("exporters do not end in time"),
    }
    tracing::info!(took = ?stop_started.elapsed(), "stopped");
    match collected {
        Ok(Ok((Ok(()), true))) => Ok(end),
        Ok(Ok((Err(error), _))) => Err(error.into()),
        Ok(Ok((Ok(()), false)) | Err(_)) => {
            Err(system("a thread panicked")(io::ErrorKind::Other.into()))
        }
        Err(_) => {
            let named = lock(&totals);
            let late = named.open(sampled.samples.load(Ordering::Acquire));
            tracing::warn!(
                samples = late,
                "the last window is not named in time: its samples are lost"
            );
            carried.add(SampleLoss::WindowLate, late);
            Ok(end)
        }
    }
}
