//! What the daemon runs by.

use crate::config::{AgentConfig, ConfigError};

/// A configuration and where it comes from.
pub struct Settings<'a> {
    /// The configuration.
    pub config: AgentConfig,
    /// Reads it again, for SIGHUP; nothing where it is the embedded default.
    pub reread: &'a dyn Fn() -> Option<Result<AgentConfig, ConfigError>>,
    /// The environment's variables.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}
