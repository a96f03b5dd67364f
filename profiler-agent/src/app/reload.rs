//! A configuration that is read while the agent runs (SIGHUP): what it changes is planned ([`super::plan`]), tried, and
//! holds whole or not at all. What came of it is one value, [`Outcome`], whoever asked for it.

use std::sync::{Mutex, PoisonError};

use tokio::net::TcpListener;

use super::destinations::{ChangeError, Destinations};
use super::plan::{Change, Exporters, Plan};
use super::settings::Settings;
use super::troubles::Troubles;
use crate::config::{self, AgentConfig};
use crate::export::otlp;
use crate::store::{Limits, Store, StoreError};

/// The destinations that the file names; where it names none, that of the environment.
pub(super) fn destinations(
    config: &AgentConfig,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<config::Destination>, otlp::ConfigError> {
    let named = config.destinations();
    if !named.is_empty() {
        return Ok(named);
    }
    let Some(mut found) = otlp::Config::from_environment(environment)? else {
        return Ok(named);
    };
    found.config.options.host = otlp::Host::read();
    for warning in &found.warnings {
        tracing::warn!("{warning}");
    }
    Ok(vec![config.from_environment(found.config)])
}

/// What came of a configuration that was read.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is no file to read.
    NoFile,
    /// It is what is in effect.
    Unchanged,
    /// It is in effect now.
    Applied {
        /// Exporters that ended.
        ended: usize,
        /// Exporters that started.
        started: usize,
    },
    /// Everything but the process is to be started again with it.
    Restart(Box<AgentConfig>),
    /// It is in effect now: everything was started with it.
    Restarted,
    /// Nothing was touched.
    Refused(String),
    /// It was tried, and what was in effect before is again.
    RolledBack(String),
}

/// What the agent says of the configuration that is in effect; it outlives a start of everything again.
#[derive(Debug, Default)]
pub(super) struct InEffect {
    /// Why the file is not in effect as it was read last.
    refused: Mutex<Option<String>>,
    /// The exporters that do not run.
    pub(super) missing: Troubles,
}

impl InEffect {
    /// Logs an outcome, and keeps what is wrong until it is right. `exporters` are those in effect.
    pub(super) fn report(&self, outcome: &Outcome, exporters: &[String]) {
        let refused = match outcome {
            Outcome::NoFile => {
                tracing::info!("there is no configuration file to read again: --config names one");
                return;
            }
            Outcome::Unchanged => {
                tracing::info!(
                    ?exporters,
                    "the configuration was read again: nothing changes"
                );
                None
            }
            Outcome::Applied { ended, started } => {
                tracing::info!(
                    ended,
                    started,
                    ?exporters,
                    "the configuration was read again"
                );
                None
            }
            Outcome::Restarted => {
                tracing::info!(
                    ?exporters,
                    "everything was started with the configuration that was read"
                );
                None
            }
            Outcome::Restart(_) => {
                tracing::info!("the configuration was read again: everything is started with it");
                return;
            }
            Outcome::Refused(reason) => {
                tracing::error!(?exporters, "the configuration stays as it is: {reason}");
                Some(reason.clone())
            }
            Outcome::RolledBack(reason) => {
                tracing::error!(
                    ?exporters,
                    "the old configuration is in effect again: {reason}"
                );
                Some(reason.clone())
            }
        };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }

    /// Is the file in effect as it was read last?
    pub(super) fn is_file(&self) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_none()
    }

    /// What is wrong, in sentences.
    pub(super) fn troubles(&self) -> Vec<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sentences: Vec<String> = refused
            .iter()
            .map(|reason| format!("the configuration file is not in effect: {reason}"))
            .collect();
        drop(refused);
        sentences.extend(self.missing.now());
        sentences
    }
}

/// Reads the configuration again and makes what it changes of exporters; `config` is what is in effect.
pub(super) async fn reload(
    config: &mut AgentConfig,
    settings: &Settings<'_>,
    running: &mut Destinations,
) -> Outcome {
    let fresh = match (settings.reread)() {
        None => return Outcome::NoFile,
        Some(Err(error)) => return Outcome::Refused(error.to_string()),
        Some(Ok(fresh)) => fresh,
    };
    let wanted = match destinations(&fresh, settings.environment) {
        Ok(wanted) => wanted,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let Plan {
        config: planned,
        change,
        later,
    } = Plan::new(config, fresh, &running.in_effect(), wanted);
    for key in later {
        tracing::warn!("{key} is changed by a restart of the process alone");
    }
    match change {
        Change::Nothing => {
            *config = planned;
            Outcome::Unchanged
        }
        Change::Exporters(exporters) => {
            let (ended, started) = (exporters.ended.len(), exporters.started.len());
            match running.change(exporters).await {
                Ok(()) => {
                    *config = planned;
                    Outcome::Applied { ended, started }
                }
                Err(ChangeError::Refused(error)) => Outcome::Refused(error.to_string()),
                Err(ChangeError::RolledBack(error)) => Outcome::RolledBack(error.to_string()),
            }
        }
        Change::Everything(exporters) => match check(config, &planned, exporters).await {
            Ok(()) => Outcome::Restart(Box::new(planned)),
            Err(reason) => Outcome::Refused(reason),
        },
    }
}

/// Would the new configuration start? Whatever can be known of it while the old one is in effect.
async fn check(old: &AgentConfig, new: &AgentConfig, exporters: Exporters) -> Result<(), String> {
    Destinations::check(exporters.started).map_err(|error| error.to_string())?;
    if old.store.directory != new.store.directory {
        match Store::open(&new.store.directory, limits(new)) {
            // Perhaps by this agent itself, under another path.
            Ok(_) => {}
            Err(StoreError::File(error)) if error.is_held() => {}
            Err(error) => {
                return Err(format!("{error}. `store.directory` chooses another place."));
            }
        }
    }
    let endpoints = |config: &AgentConfig| {
        let page = ("page.endpoint", config.page.endpoint);
        let telemetry = config.telemetry.endpoint.0;
        let telemetry = telemetry.map(|address| ("telemetry.endpoint", address));
        std::iter::once(page).chain(telemetry)
    };
    for (key, address) in endpoints(new) {
        // What the agent itself listens on it gives back first.
        if endpoints(old).any(|(_, own)| own.port() == address.port()) {
            continue;
        }
        if let Err(error) = TcpListener::bind(address).await {
            return Err(format!(
                "{address} of `{key}` cannot be listened on: {error}. Choose another address."
            ));
        }
    }
    Ok(())
}

/// What the local store may hold.
pub(super) fn limits(config: &AgentConfig) -> Limits {
    Limits {
        max_bytes: config.store.max_size.0,
        max_age: config.store.max_age.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> AgentConfig {
        AgentConfig::parse(text, &|_| None).unwrap()
    }

    async fn checked(old: &str, new: &str) -> Result<(), String> {
        check(&config(old), &config(new), Exporters::default()).await
    }

    #[tokio::test]
    async fn an_address_is_tried_unless_it_is_the_agents_own() {
        // One is the agent's, one another program's.
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (own, other) = (bind(), bind());
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let (own, other) = (port(&own), port(&other));
        let page = |port: u16| format!("page: {{endpoint: '127.0.0.1:{port}'}}\n");
        let wide = format!("page: {{endpoint: '0.0.0.0:{own}', allow_unauthenticated: true}}\n");
        assert_eq!(checked(&page(own), &wide).await, Ok(()));
        let moved = format!("{}telemetry: {{endpoint: '127.0.0.1:{own}'}}\n", page(0));
        assert_eq!(checked(&page(own), &moved).await, Ok(()));
        let refused = checked(&page(own), &page(other)).await.unwrap_err();
        assert!(refused.contains("`page.endpoint`"), "{refused}");
    }

    #[tokio::test]
    async fn a_store_is_tried_where_it_is_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let store = |name: &str| format!("store: {{directory: {path}/{name}}}\n");
        let _own = Store::open(&directory.path().join("own"), Limits::default()).unwrap();
        std::os::unix::fs::symlink("own", directory.path().join("alias")).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(checked(&store("own"), &store("alias")).await, Ok(()));
        assert_eq!(checked(&store("own"), &store("new")).await, Ok(()));
        let refused = checked(&store("own"), &store("file")).await.unwrap_err();
        assert!(refused.contains("`store.directory`"), "{refused}");
    }
}
