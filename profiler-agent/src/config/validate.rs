//! Values that are what they should be, but not within what they may be.

use std::time::Duration;

use super::AgentConfig;
use super::labels::Labels;
use super::problem::Problem;
use super::sections::{Page, Sync};
use crate::collect;
use crate::export::settings::Checks;

/// What is wrong.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
}

impl Found {
    /// Notes `fix` for `key` unless it `holds`; `.` leads further down.
    fn unless(&mut self, holds: bool, key: &str, fix: impl Into<String>) {
        if !holds {
            self.problems.push(Problem {
                path: key.split('.').map(str::to_owned).collect(),
                ..Problem::new(fix)
            });
        }
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl AgentConfig {
    /// All values that are not within their range; their places are found out by who called.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let window = self.sampling.window.0;
        let mut found = Found::default();
        found.unless(
            (1..=10_000).contains(&self.sampling.frequency),
            "sampling.frequency",
            "1 to 10000 samples a second",
        );
        found.unless(
            (seconds(1)..=seconds(600)).contains(&window),
            "sampling.window",
            "1s to 10m",
        );
        found.unless(
            collect::OffCpu::THRESHOLDS.contains(&self.sampling.off_cpu.threshold.0),
            "sampling.off_cpu.threshold",
            "10us to 2s",
        );
        found.unless(
            (1..=Labels::MOST_VALUES).contains(&self.labels.max_values),
            "labels.max_values",
            "1 to 10000",
        );
        found.unless(
            self.tables.max_size.0 >= 1 << 20,
            "tables.max_size",
            "at least 1MiB",
        );
        found.unless(
            self.store.directory.is_absolute(),
            "store.directory",
            "an absolute path is needed",
        );
        for (key, directory) in [
            ("spool.directory", &self.spool.directory),
            ("tables.cache_directory", &self.tables.cache_directory),
        ] {
            found.unless(
                directory.as_os_str().is_empty() || directory.is_absolute(),
                key,
                "an absolute path is needed, or none to keep nothing on disk",
            );
        }
        self.page.check(&mut found);
        found.unless(
            self.store.max_size.0 >= crate::store::Limits::MIN_BYTES,
            "store.max_size",
            "at least 8MiB",
        );
        found.unless(
            self.store.max_age.0 >= window,
            "store.max_age",
            "at least one window",
        );
        found.unless(
            self.spool.max_size.0 >= 8 << 20,
            "spool.max_size",
            "at least 8MiB",
        );
        found.unless(
            self.spool.max_age.0 >= window,
            "spool.max_age",
            "at least one window",
        );
        found.unless(
            self.spool.write_after.0 <= seconds(60),
            "spool.write_after",
            "0s to 60s",
        );
        found.unless(
            (seconds(1)..=seconds(3600)).contains(&self.telemetry.otlp.interval.0),
            "telemetry.otlp.interval",
            "1s to 1h",
        );
        if let Sync::Every(span) = self.spool.sync {
            found.unless(
                (Duration::from_millis(100)..=seconds(600)).contains(&span.0),
                "spool.sync",
                "`always`, or 100ms to 10m",
            );
        }
        let mut problems = found.problems;
        for (name, exporter) in &self.exporters {
            let mut checks = Checks::new(window);
            exporter.settings().check(&mut checks);
            let wrong = checks.wrong().into_iter();
            problems.extend(wrong.map(|wrong| Problem::of_exporter(name, wrong)));
        }
        problems
    }
}

impl Page {
    fn check(&self, found: &mut Found) {
        let has_token = !self.token_file.as_os_str().is_empty();
        found.unless(
            self.endpoint.ip().is_loopback() || has_token || self.allow_unauthenticated,
            "page.endpoint",
            "everybody who reaches this address could read the names and labels of all programs: set `page.token_file` \
             to a file with a token (`openssl rand -hex 32`), or `page.allow_unauthenticated: true`",
        );
        found.unless(
            !has_token || self.token_file.is_absolute(),
            "page.token_file",
            "an absolute path is needed",
        );
        let open = has_token || self.allow_unauthenticated;
        found.unless(
            self.users.is_empty() || self.endpoint.ip().is_loopback() && !open,
            "page.users",
            "they are for a page on loopback that asks for no token",
        );
        found.unless(
            !has_token || !self.allow_unauthenticated,
            "page.allow_unauthenticated",
            "`page.token_file` asks for a token: write one of the two",
        );
    }
}
