//! Metrics as text: Prometheus 0.0.4 and OpenMetrics 1.0, which differ in little.
//!
//! Values of labels are untrusted (names of executables): they leave escaped.

use std::fmt::Write as _;

use super::measure::{Family, Point, Value};
use super::metric::{Kind, Unit};
use crate::profile::delivery::Latencies;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What whoever sends this `Accept` header reads best.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let named = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next() == Some("application/openmetrics-text")
                && !parts.any(|part| matches!(part, "q=0" | "q=0.0"))
        });
        if named {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }
}

/// The text.
#[must_use]
pub fn render(families: &[Family], exposition: Exposition) -> String {
    let mut text = String::with_capacity(16 << 10);
    for family in families {
        // Writing to a String cannot fail.
        let _ = head(&mut text, family, exposition);
        for point in &family.points {
            let _ = sample(&mut text, family, point);
        }
    }
    if exposition == Exposition::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(text: &mut String, family: &Family, exposition: Exposition) -> std::fmt::Result {
    let metric = family.metric;
    // OpenMetrics names a counter's family without what its samples end in.
    let name = match exposition {
        Exposition::Prometheus => metric.name(),
        Exposition::OpenMetrics => metric.name().trim_end_matches("_total"),
    };
    writeln!(text, "# HELP {name} {}", metric.help())?;
    writeln!(text, "# TYPE {name} {}", metric.kind().name())?;
    if exposition == Exposition::OpenMetrics && metric.unit() != Unit::None {
        writeln!(text, "# UNIT {name} {}", metric.unit().name())?;
    }
    Ok(())
}

fn sample(text: &mut String, family: &Family, point: &Point) -> std::fmt::Result {
    let name = family.metric.name();
    debug_assert_eq!(
        family.metric.kind() == Kind::Histogram,
        matches!(point.value, Value::Latency(_))
    );
    let labels: Vec<(&str, &str)> = family
        .metric
        .labels()
        .iter()
        .copied()
        .zip(point.labels.iter().map(String::as_str))
        .collect();
    match &point.value {
        Value::Count(count) => line(text, name, "", &labels, count),
        Value::Amount(amount) => line(text, name, "", &labels, amount),
        Value::Latency(histogram) => buckets(text, name, labels, histogram),
    }
}

fn buckets(
    text: &mut String,
    name: &str,
    mut labels: Vec<(&str, &str)>,
    histogram: &Latencies,
) -> std::fmt::Result {
    let bounds = Latencies::BOUNDS
        .iter()
        .map(|bound| format!("{:?}", bound.as_secs_f64()))
        .chain(["+Inf".to_owned()]);
    let mut cumulative = 0;
    for (bound, count) in bounds.zip(histogram.buckets) {
        cumulative += count;
        let mut labels = labels.clone();
        labels.push(("le", &bound));
        line(text, name, "_bucket", &labels, &cumulative)?;
    }
    let labels = std::mem::take(&mut labels);
    line(text, name, "_sum", &labels, &histogram.sum.as_secs_f64())?;
    line(text, name, "_count", &labels, &cumulative)
}

fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, &str)],
    value: &dyn std::fmt::Display,
) -> std::fmt::Result {
    text.push_str(name);
    text.push_str(suffix);
    for (index, (label, value)) in labels.iter().enumerate() {
        write!(text, "{}{label}=\"", if index == 0 { '{' } else { ',' })?;
        escape(text, value);
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    writeln!(text, " {value}")
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::super::{example, measure};
    use super::*;

    fn text(exposition: Exposition) -> String {
        render(&measure::families(&example::reading()), exposition)
    }

    /// What a program says of the text that it is fed.
    fn feed(command: &mut Command, text: &str) -> String {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{command:?}: {error} (`cargo xtask test` installs it)")
            });
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].map(|s| String::from_utf8(s).unwrap());
        assert!(output.status.success(), "{}{}\n{text}", said[0], said[1]);
        said.concat()
    }

    #[test]
    fn prometheus_finds_nothing_to_say_about_the_text() {
        let said = feed(
            Command::new("promtool").args(["check", "metrics"]),
            &text(Exposition::Prometheus),
        );
        assert_eq!(said.trim(), "");
    }

    /// Reads the text with the Python client's parser and says every sample in a form of its own.
    fn parsed(module: &str, text: &str) -> Vec<String> {
        let script = format!(
            "import sys, json\nfrom {module} import text_string_to_metric_families as read\n\
             for family in read(sys.stdin.read()):\n    for s in family.samples:\n        \
             print(json.dumps([s.name, s.labels, float(s.value)]))\n"
        );
        let mut command = Command::new("/usr/bin/python3");
        let said = feed(command.args(["-c", &script]), text);
        said.lines().map(str::to_owned).collect()
    }

    #[test]
    fn independent_parsers_read_what_was_meant() {
        let prometheus = parsed("prometheus_client.parser", &text(Exposition::Prometheus));
        let open = parsed(
            "prometheus_client.openmetrics.parser",
            &text(Exposition::OpenMetrics),
        );
        assert_eq!(prometheus, open);
        for expected in [
            r#"["profiler_samples_total", {}, 1001.0]"#,
            r#"["profiler_start_time_seconds", {}, 1700000000.25]"#,
            r#"["profiler_samples_lost_total", {"cause": "ring_full"}, 123.0]"#,
            r#"["profiler_samples_lost_total", {"cause": "ring_missing"}, 0.0]"#,
            r#"["profiler_stacks_total", {"outcome": "root"}, 100.0]"#,
            r#"["profiler_executable_stacks_total", {"executable": "we\"ird\\na\nme", "complete": "false"}, 126.0]"#,
            r#"["profiler_delivery_attempt_duration_seconds_bucket", {"destination": "otlp", "le": "0.005"}, 0.0]"#,
            r#"["profiler_delivery_attempt_duration_seconds_bucket", {"destination": "otlp", "le": "0.01"}, 1.0]"#,
            r#"["profiler_delivery_attempt_duration_seconds_bucket", {"destination": "otlp", "le": "10.0"}, 1.0]"#,
            r#"["profiler_delivery_attempt_duration_seconds_bucket", {"destination": "otlp", "le": "+Inf"}, 2.0]"#,
            r#"["profiler_delivery_attempt_duration_seconds_sum", {"destination": "otlp"}, 60.007]"#,
            r#"["profiler_delivery_attempt_duration_seconds_count", {"destination": "otlp"}, 2.0]"#,
        ] {
            assert!(
                prometheus.iter().any(|line| line == expected),
                "{expected}\n{prometheus:#?}"
            );
        }
    }

    #[test]
    fn whoever_asks_for_openmetrics_gets_it() {
        for (accept, exposition) in [
            ("", Exposition::Prometheus),
            ("*/*", Exposition::Prometheus),
            ("text/plain;version=0.0.4", Exposition::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;q=0.5",
                Exposition::OpenMetrics,
            ),
            (
                "application/openmetrics-text;q=0, text/plain",
                Exposition::Prometheus,
            ),
        ] {
            assert_eq!(Exposition::accepted(accept), exposition, "{accept}");
        }
    }
}
