//! How lines look.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::limited::Limited;
use crate::profile::hexadecimal::text_of;
use crate::profile::plain::plain_lines;
use crate::telemetry::limit::Verdict;
use crate::telemetry::thread_context;

/// For a person: time, level, message, fields.
pub(super) struct Text {
    format: Format<Full, SystemTime>,
    limited: Limited,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            format: Format::default().with_target(false),
            limited: Limited::default(),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Verdict::Write { suppressed } = self.limited.judge(event) else {
            return Ok(());
        };
        let mut line = String::new();
        self.format
            .format_event(context, Writer::new(&mut line), event)?;
        write!(writer, "{}", plain_lines(line.trim_end_matches('\n')))?;
        match suppressed {
            0 => writeln!(writer),
            _ => writeln!(writer, " suppressed={suppressed}"),
        }
    }
}

/// For a machine: an object a line, with the fields of the event beside `time`, `level`, `target` and `message`,
/// and the span that it happened in.
#[derive(Default)]
pub(super) struct Json {
    limited: Limited,
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Verdict::Write { suppressed } = self.limited.judge(event) else {
            return Ok(());
        };
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let Fields(mut line) = fields;
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut add = |key: &str, value: Value| line.insert(key.to_owned(), value);
        add("time", time.into());
        add("level", event.metadata().level().as_str().into());
        add("target", event.metadata().target().into());
        if suppressed > 0 {
            add("suppressed", suppressed.into());
        }
        if let Some(link) = thread_context::current() {
            add("trace_id", text_of(&link.trace_id).into());
            add("span_id", text_of(&link.span_id).into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The fields of an event as JSON.
struct Fields(Map<String, Value>);

impl Fields {
    /// An event may have a field called `message` beside its message, which comes first.
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        let name = match field.name() {
            "message" if self.0.contains_key("message") => "detail",
            name => name,
        };
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}
