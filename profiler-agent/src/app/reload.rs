//! SIGHUP: the configuration is read again.

use super::agent::Settings;
use super::destinations::Destinations;
use crate::config::{self, AgentConfig};
use crate::export::otlp;

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

/// Reads the configuration again. What is about exporters alone is changed here and now; anything else is given back,
/// to start with. One that is wrong changes nothing.
pub(super) async fn reload(
    config: &mut AgentConfig,
    settings: &Settings<'_>,
    running: &mut Destinations,
) -> Option<AgentConfig> {
    let fresh = match (settings.reread)() {
        None => {
            tracing::info!("there is no configuration file to read again: --config names one");
            return None;
        }
        Some(Err(error)) => {
            tracing::error!("the configuration stays as it is: {error}");
            return None;
        }
        Some(Ok(fresh)) => fresh,
    };
    let exporters_of = |other: &AgentConfig| AgentConfig {
        exporters: other.exporters.clone(),
        spool: other.spool.clone(),
        ..fresh.clone()
    };
    if *config != exporters_of(config) {
        // What cannot be started is found out before what runs is ended.
        return match destinations(&fresh, settings.environment) {
            Ok(_) => Some(fresh),
            Err(error) => {
                tracing::error!("the configuration stays as it is: {error}");
                None
            }
        };
    }
    let (before, after) = match (
        destinations(config, settings.environment),
        destinations(&fresh, settings.environment),
    ) {
        (Ok(before), Ok(after)) => (before, after),
        (_, Err(error)) | (Err(error), _) => {
            tracing::error!("the configuration stays as it is: {error}");
            return None;
        }
    };
    let same = |name: &str| {
        config.spool == fresh.spool && config.exporters.get(name) == fresh.exporters.get(name)
    };
    let is_in = |name: &str, list: &[config::Destination]| {
        list.iter().any(|destination| destination.name == name)
    };
    let gone: Vec<String> = before
        .iter()
        .filter(|destination| !(same(&destination.name) && is_in(&destination.name, &after)))
        .map(|destination| destination.name.clone())
        .collect();
    let changed: Vec<config::Destination> = after
        .into_iter()
        .filter(|destination| !(same(&destination.name) && is_in(&destination.name, &before)))
        .collect();
    let count = changed.len();
    match running.change(&gone, changed).await {
        Ok(()) => {
            tracing::info!(
                ended = gone.len(),
                started = count,
                "the configuration was read again"
            );
            *config = fresh;
        }
        Err(error) => tracing::error!("the configuration stays as it is: {error}"),
    }
    None
}
