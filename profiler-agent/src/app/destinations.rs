//! The destinations that run: a target, a client and a queue each.
//!
//! A change of them holds whole or is rolled back whole: everything that can be made is made before anything that runs
//! is ended, and what was ended is started again when what is to follow it does not start. What is closed meanwhile is
//! held for whichever of the two comes.

mod outlets;
mod prepare;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::plan::{Exporters, Start};
use crate::config;
use crate::profile::delivery::DeliveryCounts;
use crate::spool;
use crate::telemetry::observed::Observed;

pub(super) use outlets::Outlets;
pub use prepare::DestinationError;
use prepare::Prepared;

/// How long a destination may go on sending when it is to end.
const FLUSH: Duration = Duration::from_millis(1200);
/// How long it may take altogether: what is undelivered is written to disk after the flush.
const END: Duration = Duration::from_millis(2500);
/// Bytes of payloads that are held for a destination while it is exchanged, or cannot be started.
const HELD: u64 = 16 << 20;

/// The destinations with their tasks.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    outlets: Outlets,
    tasks: BTreeMap<String, Task>,
    /// Those that ran, were ended for others, and could not be started again yet.
    missing: BTreeMap<String, Missing>,
}

#[derive(Debug)]
struct Task {
    destination: config::Destination,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

#[derive(Debug)]
struct Missing {
    destination: config::Destination,
    /// Why it could not be started when it was tried last.
    reason: String,
}

/// A change that is not in effect.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    /// Nothing was touched.
    #[error("{0}")]
    Refused(DestinationError),
    /// What ran before runs again.
    #[error("{0}")]
    RolledBack(DestinationError),
}

impl Destinations {
    /// Starts destinations; within a runtime.
    ///
    /// # Errors
    /// The first one that cannot be started; none runs then.
    pub(super) async fn start(
        destinations: Vec<config::Destination>,
    ) -> Result<Self, DestinationError> {
        let mut started = Self::default();
        let prepared: Result<Vec<_>, _> = destinations
            .into_iter()
            .map(|destination| Prepared::new(destination, false))
            .collect();
        for prepared in prepared? {
            if let Err(error) = started.run(prepared).await {
                started.stop().await;
                return Err(error);
            }
        }
        Ok(started)
    }

    /// Where the pipeline puts profiles.
    pub(super) fn outlets(&self) -> Outlets {
        self.outlets.clone()
    }

    /// The destinations as they are in effect, in the order of their names.
    pub(super) fn in_effect(&self) -> Vec<&config::Destination> {
        let running = self.tasks.values().map(|task| &task.destination);
        let missing = self.missing.values().map(|missing| &missing.destination);
        let mut all: Vec<_> = running.chain(missing).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Would these start? What they need is made and dropped.
    ///
    /// # Errors
    /// The first one that would not.
    pub(super) fn check(starts: Vec<Start>) -> Result<(), DestinationError> {
        for Start { destination, waits } in starts {
            Prepared::new(destination, waits)?;
        }
        Ok(())
    }

    /// Makes the change, or none.
    ///
    /// # Errors
    /// What does not start; see [`ChangeError`].
    pub(super) async fn change(&mut self, exporters: Exporters) -> Result<(), ChangeError> {
        let Exporters { ended, started } = exporters;
        let prepared: Result<Vec<_>, _> = started
            .into_iter()
            .map(|Start { destination, waits }| Prepared::new(destination, waits))
            .collect();
        let prepared = prepared.map_err(ChangeError::Refused)?;
        let before = self.end(&ended).await;
        let mut names = Vec::new();
        for prepared in prepared {
            let name = prepared.destination.name.clone();
            if let Err(error) = self.run(prepared).await {
                self.roll_back(&names, before).await;
                return Err(ChangeError::RolledBack(error));
            }
            names.push(name);
        }
        for name in ended.iter().filter(|name| !names.contains(name)) {
            for (gone, counts) in self.outlets.counts() {
                if gone == *name {
                    log_end(name, &counts);
                }
            }
            self.outlets.remove(name);
        }
        Ok(())
    }

    /// Tries again to start what could not be started; what is still missing, in sentences.
    pub(super) async fn retry(&mut self) -> Vec<String> {
        for (_, missing) in std::mem::take(&mut self.missing) {
            self.restore(missing.destination, false).await;
        }
        let sentence = |(name, missing): (&String, &Missing)| {
            let reason = &missing.reason;
            format!("the exporter {name} is not running: {reason}. It is tried again every second.")
        };
        self.missing.iter().map(sentence).collect()
    }

    /// Ends all: sends for a while, then writes to disk what is left.
    pub(super) async fn stop(self) -> Vec<(String, DeliveryCounts)> {
        end(self.tasks.into_values().collect()).await;
        self.outlets.counts()
    }

    /// Ends those, and holds what comes for them; as they were.
    async fn end(&mut self, names: &[String]) -> Vec<config::Destination> {
        self.outlets.hold(names, HELD);
        let tasks = names.iter().filter_map(|name| self.tasks.remove(name));
        let tasks: Vec<Task> = tasks.collect();
        let missing = names.iter().filter_map(|name| self.missing.remove(name));
        let mut were: Vec<_> = missing.map(|missing| missing.destination).collect();
        were.extend(tasks.iter().map(|task| task.destination.clone()));
        end(tasks).await;
        were
    }

    /// Ends what was `started`, and starts again what ran `before`.
    async fn roll_back(&mut self, started: &[String], before: Vec<config::Destination>) {
        self.end(started).await;
        for name in started {
            if !before.iter().any(|old| old.name == *name) {
                self.outlets.remove(name);
            }
        }
        for old in before {
            self.restore(old, true).await;
        }
    }

    /// Starts one that ran before, waiting a little for what it needs where it `waits`; where it does not start it is
    /// missing, and what comes for it is held.
    async fn restore(&mut self, destination: config::Destination, waits: bool) {
        let again = match Prepared::new(destination.clone(), waits) {
            Ok(prepared) => self.run(prepared).await,
            Err(error) => Err(error),
        };
        if let Err(error) = again {
            let missing = Missing {
                reason: error.to_string(),
                destination,
            };
            let name = missing.destination.name.clone();
            self.missing.insert(name, missing);
        }
    }

    async fn run(&mut self, prepared: Prepared) -> Result<(), DestinationError> {
        let (destination, client) = prepared.client().await?;
        let name = destination.name.clone();
        let (handle, driver) = spool::start(
            &name,
            destination.queue,
            destination.directory.as_deref(),
            Observed::new(client, &name),
        )
        .map_err(|source| DestinationError::Spool {
            name: name.clone(),
            directory: destination
                .directory
                .as_deref()
                .unwrap_or_else(|| "memory".as_ref())
                .display()
                .to_string(),
            source,
        })?;
        let (stop, stopped) = oneshot::channel();
        // A sender that is gone means the same.
        let stopped = async move { drop(stopped.await) };
        let ended = tokio::spawn(driver.run(stopped, FLUSH));
        self.outlets
            .run(&name, Arc::clone(&destination.target), handle);
        tracing::info!(exporter = name, "exporting profiles");
        let task = Task {
            destination,
            stop,
            ended,
        };
        self.tasks.insert(name, task);
        Ok(())
    }
}

/// Says what a destination did until its end.
pub(super) fn log_end(exporter: &str, counts: &DeliveryCounts) {
    tracing::info!(
        exporter,
        delivered = counts.delivered,
        samples = counts.samples,
        left_on_disk = counts.waiting,
        losses = ?counts.losses,
        "exported"
    );
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
