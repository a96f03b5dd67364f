//! What the user asked for, validated.
//!
//! The file is YAML; every key has a default, an unknown key is refused with its line and column and with what
//! may have been meant. Durations and sizes carry their unit: `10s`, `512MiB`; `${env:NAME}` is what the environment
//! says. A file is validated as a whole: every section and exporter says what is wrong with it.

mod destination;
mod files;
mod labels;
mod part;
mod problem;
mod sections;
mod show;
mod telemetry;
mod trace_url;
mod validate;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use destination::Destination;
pub use labels::Labels;
pub use problem::{Place, Problem};
pub use sections::{OffCpu, Page, Sampling, Spool, Store, Sync, Tables};
pub use telemetry::{Telemetry, VariableError};
pub use trace_url::TraceUrl;
use yaml::{Key, MAX_PROBLEMS, NOT_A_MAP, Node, Value, read_each, read_each_with};

use crate::confine;
use crate::export::Exporter;

/// Bytes of a configuration file.
const MAX_LENGTH: u64 = 1 << 20;

/// The agent's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AgentConfig {
    /// How samples are taken.
    pub sampling: Sampling,
    /// Unwind tables.
    pub tables: Tables,
    /// Labels of the code itself.
    pub labels: Labels,
    /// The local store.
    pub store: Store,
    /// The page.
    pub page: Page,
    /// What the agent says about itself.
    pub telemetry: Telemetry,
    /// What waits on disk for exporters.
    pub spool: Spool,
    /// Where profiles go, by name.
    pub exporters: BTreeMap<String, Exporter>,
}

/// The keys of a file, in the order of the documentation.
const KEYS: [&str; 8] = [
    "sampling",
    "tables",
    "labels",
    "store",
    "page",
    "telemetry",
    "spool",
    "exporters",
];

/// A configuration that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}", lines(path, problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the file's order; never empty.
        problems: Vec<Problem>,
    },
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    let path = path.display();
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{path}: {problem}"))
        .collect();
    lines.join("\n")
}

impl AgentConfig {
    /// Reads and validates a file; `environment` has what `${env:NAME}` stands for.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Self::read_with(path, environment, &|_| Vec::new())
    }

    /// Reads and validates a file, and the files that it names: tokens, headers, certificates.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read_with_files(
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        Self::read_with(path, environment, &files::problems)
    }

    /// `further` says what else is wrong with the values; their places are found here.
    fn read_with(
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
        further: &dyn Fn(&Self) -> Vec<Problem>,
    ) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let content = confine::read_configured(path, MAX_LENGTH).map_err(|error| {
            unreadable(match error.kind() {
                io::ErrorKind::FileTooLarge => io::Error::other("it is longer than 1 MiB"),
                _ => error,
            })
        })?;
        let text = String::from_utf8(content)
            .map_err(|_| unreadable(io::Error::other("it is no text (UTF-8)")))?;
        Self::parse_with(&text, environment, further).map_err(|problems| ConfigError::Wrong {
            path: path.to_owned(),
            problems,
        })
    }

    /// The configuration that a file's text says.
    ///
    /// # Errors
    /// All that is wrong, in the file's order.
    pub fn parse(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        Self::parse_with(text, environment, &|_| Vec::new())
    }

    fn parse_with(
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
        further: &dyn Fn(&Self) -> Vec<Problem>,
    ) -> Result<Self, Vec<Problem>> {
        let (mut root, mut problems) = Node::parse(text, environment);
        let mut config = Self::default();
        let is_empty = root.is_null();
        match &mut root.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    config.section(key, value, &mut problems);
                }
            }
            _ if is_empty => {}
            _ => problems.push(Problem::at(root.place, NOT_A_MAP)),
        }
        let values = config.problems().into_iter().chain(further(&config));
        let values = values.filter(|problem| root.is_read(&problem.path));
        let with_place = |mut problem: Problem| {
            problem.place = Some(root.place_of(&problem.path));
            problem
        };
        problems.extend(values.map(with_place));
        if problems.is_empty() {
            return Ok(config);
        }
        problems.sort_by_key(|problem| problem.place);
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        if more > 0 {
            problems.truncate(MAX_PROBLEMS);
            problems.push(Problem::new(format!(
                "{more} or more other problems are left out: correct these {MAX_PROBLEMS} first"
            )));
        }
        Err(problems)
    }

    fn section(&mut self, key: &Key, value: &mut Node, problems: &mut Vec<Problem>) {
        fn fill<T: DeserializeOwned>(
            place: &mut T,
            key: &Key,
            value: &mut Node,
            problems: &mut Vec<Problem>,
        ) {
            let mut found = Vec::new();
            if let Some(read) = read_each(value, &mut found) {
                *place = read;
            }
            let within = |problem: Problem| problem.within(&key.text, key.place);
            problems.extend(found.into_iter().map(within));
        }
        match key.text.as_str() {
            "sampling" => fill(&mut self.sampling, key, value, problems),
            "tables" => fill(&mut self.tables, key, value, problems),
            "labels" => fill(&mut self.labels, key, value, problems),
            "store" => fill(&mut self.store, key, value, problems),
            "page" => fill(&mut self.page, key, value, problems),
            "telemetry" => fill(&mut self.telemetry, key, value, problems),
            "spool" => fill(&mut self.spool, key, value, problems),
            "exporters" => self.exporters(key, value, problems),
            _ => {
                let problem = unknown("there is no key", &key.text, &KEYS);
                problems.push(problem.within(&key.text, key.place));
            }
        }
    }

    fn exporters(&mut self, key: &Key, value: &mut Node, problems: &mut Vec<Problem>) {
        let is_null = value.is_null();
        let entries = match &mut value.value {
            Value::Map(entries) => entries.as_mut_slice(),
            Value::Unread => &mut [],
            _ if is_null => &mut [],
            _ => {
                let problem = Problem::at(
                    value.place,
                    "exporters have names: write `otlp_grpc:` with its keys below it",
                );
                problems.push(problem.within(&key.text, key.place));
                value.value = Value::Unread;
                return;
            }
        };
        for (name, written) in entries {
            let mut found = Vec::new();
            match exporter(&name.text, written, &mut found) {
                Some(exporter) => {
                    self.exporters.insert(name.text.clone(), exporter);
                }
                None => written.value = Value::Unread,
            }
            let within = |problem: Problem| {
                let problem = problem.within(&name.text, name.place);
                problem.within(&key.text, name.place)
            };
            problems.extend(found.into_iter().map(within));
        }
    }
}

/// `KIND` or `KIND/NAME`, as the collector names components.
fn exporter(name: &str, written: &mut Node, problems: &mut Vec<Problem>) -> Option<Exporter> {
    let (kind, own) = match name.split_once('/') {
        Some((kind, own)) => (kind, Some(own)),
        None => (name, None),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if own.is_some_and(|own| own.is_empty() || own.len() > 64 || !own.chars().all(is_plain)) {
        problems.push(Problem::new(
            "what follows the `/` is letters, digits, `_`, `-` and `.`",
        ));
    }
    match kind {
        "otlp" => problems.push(Problem::new("write `otlp_grpc` or `otlp_http`")),
        "otlphttp" => problems.push(Problem::new("write `otlp_http`")),
        _ if Exporter::KINDS.contains(&kind) => {
            return read_each_with(written, problems, |node| {
                yaml::read_with(node, |node| Exporter::read(kind, node))
                    .unwrap_or_else(|| Err(unknown("there is no exporter", kind, Exporter::KINDS)))
            });
        }
        _ => problems.push(unknown("there is no exporter", kind, Exporter::KINDS)),
    }
    None
}

fn unknown(what: &str, written: &str, known: &[&str]) -> Problem {
    Problem::new(match problem::meant(written, known) {
        Some(name) => format!("{what} `{written}`; did you mean `{name}`?"),
        None => format!("{what} `{written}`; there are {}", known.join(", ")),
    })
}
