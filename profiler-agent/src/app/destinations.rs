//! The destinations that run: an encoder and a queue each.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::{self, Kind};
use crate::export::connection::ClientError;
use crate::export::{directory, otlp, pyroscope};
use crate::profile::delivery::DeliveryCounts;
use crate::profile::{Delivery, Destination, Payload, Profile, WindowUuid};
use crate::spool;
use crate::telemetry::observed::Observed;

/// How long a destination may go on sending when it is to end.
const FLUSH: Duration = Duration::from_millis(1200);
/// How long it may take altogether: what is undelivered is written to disk after the flush.
const END: Duration = Duration::from_millis(2500);

/// A destination that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// Its directory.
    #[error("exporter {name}: {source}")]
    Directory {
        /// The exporter.
        name: String,
        /// What is wrong.
        source: directory::DirectoryError,
    },
    /// Its certificates or headers.
    #[error("exporter {name}: {source}")]
    Client {
        /// The exporter.
        name: String,
        /// What is wrong.
        source: ClientError,
    },
    /// Its spool.
    #[error(
        "exporter {name}: its spool in {directory}: {source}. `spool.directory` chooses another place."
    )]
    Spool {
        /// The exporter.
        name: String,
        /// The spool's directory.
        directory: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A profile to payloads.
#[derive(Clone, Debug)]
enum Encoder {
    Otlp(Arc<otlp::Options>),
    Pyroscope(Arc<pyroscope::Options>),
    Directory(directory::FileFormat),
}

impl Encoder {
    fn encode(&self, profile: &Profile, window: WindowUuid) -> Vec<Payload> {
        match self {
            Self::Otlp(options) => otlp::encode(profile, window, options),
            Self::Pyroscope(options) => pyroscope::encode(profile, window, options),
            Self::Directory(format) => directory::encode(profile, window, *format),
        }
    }
}

/// Any destination.
enum Client {
    Otlp(Box<otlp::Client>),
    Pyroscope(Box<pyroscope::Client>),
    Directory(Box<directory::Client>),
}

impl Destination for Client {
    async fn send(&self, payload: Arc<Payload>) -> Delivery {
        match self {
            Self::Otlp(client) => client.send(payload).await,
            Self::Pyroscope(client) => client.send(payload).await,
            Self::Directory(client) => client.send(payload).await,
        }
    }
}

/// Where the pipeline puts profiles: the destinations as they are now.
#[derive(Clone, Debug, Default)]
pub(super) struct Outlets {
    outlets: Arc<Mutex<BTreeMap<String, Outlet>>>,
}

#[derive(Debug)]
struct Outlet {
    encoder: Encoder,
    queue: Queue,
}

#[derive(Debug)]
enum Queue {
    Running(spool::Handle),
    /// The old one ends, the new one is to have what comes meanwhile.
    Changing(Vec<Payload>),
}

impl Outlets {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outlet>> {
        // No operation leaves the map inconsistent when it panics.
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes a profile for every destination and pushes it there; never waits for one.
    pub(super) fn deliver(&self, profile: &Profile, window: WindowUuid) {
        let encoders: Vec<_> = self
            .lock()
            .iter()
            .map(|(name, outlet)| (name.clone(), outlet.encoder.clone()))
            .collect();
        for (name, encoder) in encoders {
            let encode = tracing::trace_span!("encode", destination = name);
            let payloads = encode.in_scope(|| encoder.encode(profile, window));
            match self.lock().get_mut(&name).map(|outlet| &mut outlet.queue) {
                Some(Queue::Running(handle)) => handle.push(payloads),
                Some(Queue::Changing(waiting)) => waiting.extend(payloads),
                // It was taken out of the configuration just now.
                None => {}
            }
        }
    }

    /// What each destination did so far.
    pub(super) fn counts(&self) -> Vec<(String, DeliveryCounts)> {
        let outlets = self.lock();
        let counts = |(name, outlet): (&String, &Outlet)| match &outlet.queue {
            Queue::Running(handle) => Some((name.clone(), handle.counts())),
            Queue::Changing(_) => None,
        };
        outlets.iter().filter_map(counts).collect()
    }
}

/// The destinations with their tasks.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    outlets: Outlets,
    tasks: BTreeMap<String, Task>,
}

#[derive(Debug)]
struct Task {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

/// A destination that is made but does not run yet.
struct Prepared {
    destination: config::Destination,
    encoder: Encoder,
    client: Client,
}

impl Destinations {
    /// Starts destinations; within a runtime.
    ///
    /// # Errors
    /// The first one that cannot be started.
    pub(super) fn start(destinations: Vec<config::Destination>) -> Result<Self, DestinationError> {
        let mut started = Self::default();
        let prepared: Result<Vec<_>, _> = destinations.into_iter().map(prepare).collect();
        for prepared in prepared? {
            started.run(prepared)?;
        }
        Ok(started)
    }

    /// Where the pipeline puts profiles.
    pub(super) fn outlets(&self) -> Outlets {
        self.outlets.clone()
    }

    /// Ends the destinations named `gone`, and starts `fresh` in place of those of the same names and beside the
    /// others. Nothing that is closed meanwhile is lost.
    ///
    /// # Errors
    /// One of `fresh` cannot be made: then nothing has changed. Or it cannot be started after its predecessor.
    pub(super) async fn change(
        &mut self,
        gone: &[String],
        fresh: Vec<config::Destination>,
    ) -> Result<(), DestinationError> {
        let prepared: Result<Vec<_>, _> = fresh.into_iter().map(prepare).collect();
        let prepared = prepared?;
        {
            let mut outlets = self.outlets.lock();
            for name in gone {
                let stays = prepared
                    .iter()
                    .any(|prepared| prepared.destination.name == *name);
                match outlets.get_mut(name) {
                    Some(outlet) if stays => outlet.queue = Queue::Changing(Vec::new()),
                    _ => drop(outlets.remove(name)),
                }
            }
        }
        let tasks = gone
            .iter()
            .filter_map(|name| self.tasks.remove(name))
            .collect();
        end(tasks).await;
        let mut result = Ok(());
        for prepared in prepared {
            // One that does not start keeps no other from it.
            result = result.and(self.run(prepared));
        }
        result
    }

    /// Ends all: sends for a while, then writes to disk what is left.
    pub(super) async fn stop(self) -> Vec<(String, DeliveryCounts)> {
        end(self.tasks.into_values().collect()).await;
        self.outlets.counts()
    }

    fn run(&mut self, prepared: Prepared) -> Result<(), DestinationError> {
        let Prepared {
            destination:
                config::Destination {
                    name,
                    queue,
                    directory,
                    ..
                },
            encoder,
            client,
        } = prepared;
        let (handle, driver) = spool::start(
            &name,
            queue,
            directory.as_deref(),
            Observed::new(client, &name),
        )
        .map_err(|source| {
            self.outlets.lock().remove(&name);
            DestinationError::Spool {
                name: name.clone(),
                directory: directory.unwrap_or_default().display().to_string(),
                source,
            }
        })?;
        let (stop, stopped) = oneshot::channel();
        // A sender that is gone means the same.
        let stopped = async move { drop(stopped.await) };
        let ended = tokio::spawn(driver.run(stopped, FLUSH));
        let outlet = Outlet {
            encoder,
            queue: Queue::Running(handle.clone()),
        };
        let before = self.outlets.lock().insert(name.clone(), outlet);
        if let Some(Outlet {
            queue: Queue::Changing(waiting),
            ..
        }) = before
        {
            handle.push(waiting);
        }
        tracing::info!(exporter = name, "exporting profiles");
        self.tasks.insert(name, Task { stop, ended });
        Ok(())
    }
}

fn prepare(destination: config::Destination) -> Result<Prepared, DestinationError> {
    let wrong = |source| DestinationError::Client {
        name: destination.name.clone(),
        source,
    };
    let (encoder, client) = match destination.kind.clone() {
        Kind::Otlp(config) => (
            Encoder::Otlp(Arc::new(config.options.clone())),
            Client::Otlp(Box::new(otlp::Client::new(config).map_err(wrong)?)),
        ),
        Kind::Pyroscope(config) => (
            Encoder::Pyroscope(Arc::new(config.options.clone())),
            Client::Pyroscope(Box::new(pyroscope::Client::new(config).map_err(wrong)?)),
        ),
        Kind::Directory(config) => (
            Encoder::Directory(config.format),
            Client::Directory(Box::new(directory::Client::new(config).map_err(
                |source| DestinationError::Directory {
                    name: destination.name.clone(),
                    source,
                },
            )?)),
        ),
    };
    Ok(Prepared {
        destination,
        encoder,
        client,
    })
}

fn end(tasks: Vec<Task>) -> impl Future<Output = ()> {
    let ended: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            // Its receiver is gone when the task has ended by itself.
            let _ = task.stop.send(());
            task.ended
        })
        .collect();
    async move {
        let all = async {
            for task in ended {
                // A task that panicked has ended too.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(END, all).await;
    }
}
