//! Log lines on standard error: text for a person, JSON for a machine.
//!
//! A place in the code that writes too many lines is limited (see [`limit`](super::limit)); the line that it may
//! write then says how many were left out. No line has a secret: what holds one has no `Debug` that shows it.

mod aside;
mod format;
mod limited;

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

pub use aside::{finish, say};
pub(super) use limited::Limited;

/// The variable that chooses what is logged, such as `debug` or `profiler_agent::process=debug`.
pub const VARIABLE: &str = "PROFILER_LOG";

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text where standard error is a terminal, else JSON.
    #[default]
    Auto,
    /// Text.
    Text,
    /// An object a line.
    Json,
}

/// The least severe lines that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// None.
    Off,
    /// What failed.
    Error,
    /// And what is less than it should be.
    Warn,
    /// And what happens now and then.
    #[default]
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And what happens all the time.
    Trace,
}

impl LogLevel {
    /// What lets through lines of this level.
    pub(super) const fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// What is logged where [`VARIABLE`] does not say.
    pub level: LogLevel,
    /// How lines look.
    pub format: LogFormat,
}

/// Logs text to standard error from now on, for a command that a person runs. The first call of a process counts.
pub fn to_terminal(level: LogLevel) {
    let format = LogFormat::Text;
    let logger =
        tracing_subscriber::registry().with(lines(&LogConfig { level, format }, std::io::stderr));
    // A second call, in a test, leaves the first one's logger.
    let _ = tracing::subscriber::set_global_default(logger);
}

/// Lines that were left out so far: of a place that wrote too many, or because standard error did not take them.
#[must_use]
pub fn suppressed() -> u64 {
    limited::suppressed() + aside::left_out()
}

/// Writes lines to standard error, which nobody waits for.
pub(super) fn lines_aside<S>(config: &LogConfig) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    lines(config, aside::stderr)
}

fn lines<S, W>(config: &LogConfig, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let wanted = std::env::var(VARIABLE).ok();
    let filter = wanted
        .and_then(|filter| EnvFilter::try_new(filter).ok())
        .unwrap_or_else(|| EnvFilter::default().add_directive(config.level.filter().into()));
    lines_to(config, writer, filter)
}

fn lines_to<S, W>(
    config: &LogConfig,
    writer: W,
    filter: EnvFilter,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let json = match config.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    if json {
        let layer = layer.event_format(format::Json::default());
        layer.with_filter(filter).boxed()
    } else {
        let layer = layer.event_format(format::Text::default());
        layer.with_filter(filter).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    /// The lines that `work` writes in a format.
    fn written(format: LogFormat, work: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let level = LogLevel::Info;
        let layer = lines_to(
            &LogConfig { level, format },
            lines.clone(),
            EnvFilter::new("info"),
        );
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_text_or_an_object() {
        let work = || {
            tracing::debug!("not this one");
            let message = "a field";
            tracing::info!(count = 3, message, path = "a \"b\"\nc", took = ?std::time::Duration::ZERO, "done");
        };
        let text = written(LogFormat::Text, work);
        assert_eq!(text.len(), 1, "{text:?}");
        assert!(
            text[0].contains("INFO done count=3 a field path=\"a \\\"b\\\"\\nc\" took=0ns"),
            "{text:?}"
        );
        let json = written(LogFormat::Json, work);
        assert_eq!(json.len(), 1, "{json:?}");
        let line: Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!(line["message"], "done");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["detail"], "a field");
        assert_eq!(line["count"], 3);
        assert_eq!(line["path"], "a \"b\"\nc");
        assert!(
            line["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
        assert!(
            line["target"]
                .as_str()
                .is_some_and(|target| target.starts_with("profiler_agent"))
        );
    }

    #[test]
    fn no_name_commands_the_terminal() {
        let path = "\u{1b}[31m\u{202e}\u{9b}x";
        let text = written(LogFormat::Text, || tracing::warn!(%path, "{path}"));
        assert_eq!(text.len(), 1, "{text:?}");
        let is_hidden = crate::profile::plain::is_hidden;
        assert!(!text[0].contains(is_hidden), "{text:?}");
        assert!(text[0].contains("\\u202e"), "{text:?}");
    }

    #[test]
    fn a_place_that_writes_too_much_is_cut_and_others_are_not() {
        let before = suppressed();
        let lines = written(LogFormat::Json, || {
            for number in 0..1000 {
                tracing::warn!(number, "again");
                tracing::debug!("nobody wants this, nor counts it");
            }
            tracing::warn!("something else");
        });
        assert_eq!(lines.len(), 11);
        assert!(lines[10].contains("something else"));
        assert_eq!(suppressed() - before, 990);
    }
}
