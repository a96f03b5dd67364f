//! Log lines on stderr.

use tracing_subscriber::EnvFilter;

/// The variable that chooses what is logged, such as `debug` or `profiler_agent::process=debug`.
pub const VARIABLE: &str = "PROFILER_LOG";

/// Logs to stderr from now on: what [`VARIABLE`] says, else `level` and above. The first call counts.
pub fn to_terminal(level: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .finish();
    // A second call, in a test, leaves the first one's logger.
    let _ = tracing::subscriber::set_global_default(logger);
}
