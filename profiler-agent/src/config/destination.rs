//! The exporters of a configuration, as they are run.

use std::path::PathBuf;
use std::sync::Arc;

use super::{AgentConfig, Sync};
use crate::export::settings::{Retry, SendingQueue};
use crate::export::{Target, otlp};
use crate::spool;

/// A destination of profiles.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The exporter's name.
    pub name: String,
    /// Where to.
    pub target: Arc<dyn Target>,
    /// How it waits.
    pub queue: spool::Config,
    /// Where it waits on disk.
    pub directory: Option<PathBuf>,
}

impl AgentConfig {
    /// The destinations of a validated configuration.
    #[must_use]
    pub fn destinations(&self) -> Vec<Destination> {
        let exporters = self.exporters.iter();
        let exporters = exporters.map(|(name, exporter)| (name, exporter.settings()));
        exporters
            .filter_map(|(name, settings)| {
                let target = settings.target()?;
                Some(self.destination(name.clone(), target, settings.queue()))
            })
            .collect()
    }

    /// A destination that the environment names, with the defaults of those in the file.
    #[must_use]
    pub fn from_environment(&self, config: otlp::Config) -> Destination {
        let name = match config.protocol {
            otlp::Protocol::Grpc => "otlp_grpc/environment",
            otlp::Protocol::Http => "otlp_http/environment",
        };
        self.destination(
            name.to_owned(),
            Arc::new(config),
            (Retry::default(), SendingQueue::default()),
        )
    }

    fn destination(
        &self,
        name: String,
        target: Arc<dyn Target>,
        (retry, queue): (Retry, SendingQueue),
    ) -> Destination {
        let spool = &self.spool;
        let defaults = spool::Config::default();
        Destination {
            name,
            target,
            queue: spool::Config {
                memory: queue.queue_size.0,
                disk: spool.max_size.0,
                age: spool.max_age.0,
                concurrency: queue.num_consumers,
                write_after: spool.write_after.0,
                sync: match spool.sync {
                    Sync::Always => spool::SyncPolicy::Always,
                    Sync::Every(span) => spool::SyncPolicy::Interval(span.0),
                },
                backoff: spool::Backoff {
                    initial: retry.initial_interval.0,
                    max: retry.max_interval.0,
                    ..defaults.backoff
                },
                ..defaults
            },
            directory: (!spool.directory.as_os_str().is_empty()).then(|| spool.directory.clone()),
        }
    }
}
