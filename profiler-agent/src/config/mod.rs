//! What the user asked for, validated.
//!
//! The file is YAML; every key has a default, an unknown key is refused with its line and column and with what
//! may have been meant. Durations and sizes carry their unit: `10s`, `512MiB`; `${env:NAME}` is what the environment
//! says. A file is validated as a whole: every section and exporter says what is wrong with it.

mod destination;
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

use serde::{Deserialize, Serialize};

pub use destination::Destination;
pub use labels::Labels;
pub use problem::{Place, Problem};
pub use sections::{OffCpu, Page, Sampling, Spool, Store, Sync, Tables};
pub use telemetry::{Telemetry, VariableError};
pub use trace_url::TraceUrl;
use yaml::{Node, Value};

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
        Self::parse(&text, environment).map_err(|problems| ConfigError::Wrong {
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
        let root = Node::parse(text, environment).map_err(|problem| vec![problem])?;
        let mut config = Self::default();
        let mut problems = Vec::new();
        match &root.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    if let Err(problem) = config.section(&key.text, value, &mut problems) {
                        problems.push(problem.within(&key.text, key.place));
                    }
                }
            }
            _ if root.is_null() => {}
            _ => problems.push(Problem::at(
                root.place,
                "keys with values are expected: write `key: value`, one a line",
            )),
        }
        // Of a section that was not read there is nothing to say but that.
        let read = |path: &[String]| {
            !problems
                .iter()
                .any(|problem| path.starts_with(&problem.path))
        };
        let values: Vec<Problem> = config
            .problems()
            .into_iter()
            .filter(|problem| read(&problem.path))
            .map(|mut problem| {
                problem.place = Some(root.place_of(&problem.path));
                problem
            })
            .collect();
        problems.extend(values);
        if problems.is_empty() {
            return Ok(config);
        }
        problems.sort_by_key(|problem| problem.place);
        Err(problems)
    }

    fn section(
        &mut self,
        key: &str,
        value: &Node,
        problems: &mut Vec<Problem>,
    ) -> Result<(), Problem> {
        fn fill<'a, T: Deserialize<'a>>(place: &mut T, value: &'a Node) -> Result<(), Problem> {
            *place = yaml::read(value).map_err(|mut problem| {
                problem.place.get_or_insert(value.place);
                problem
            })?;
            Ok(())
        }
        match key {
            "sampling" => fill(&mut self.sampling, value),
            "tables" => fill(&mut self.tables, value),
            "labels" => fill(&mut self.labels, value),
            "store" => fill(&mut self.store, value),
            "page" => fill(&mut self.page, value),
            "telemetry" => fill(&mut self.telemetry, value),
            "spool" => fill(&mut self.spool, value),
            "exporters" => self.exporters(value, problems),
            _ => Err(unknown("there is no key", key, &KEYS)),
        }
    }

    fn exporters(&mut self, value: &Node, problems: &mut Vec<Problem>) -> Result<(), Problem> {
        let entries = match &value.value {
            Value::Map(entries) => entries.as_slice(),
            _ if value.is_null() => &[],
            _ => {
                return Err(Problem::at(
                    value.place,
                    "exporters have names: write `otlp_grpc:` with its keys below it",
                ));
            }
        };
        for (name, written) in entries {
            match exporter(&name.text, written) {
                Ok(exporter) => {
                    self.exporters.insert(name.text.clone(), exporter);
                }
                Err(problem) => {
                    problems.push(
                        problem
                            .within(&name.text, name.place)
                            .within("exporters", name.place),
                    );
                }
            }
        }
        Ok(())
    }
}

/// `KIND` or `KIND/NAME`, as the collector names components.
fn exporter(name: &str, written: &Node) -> Result<Exporter, Problem> {
    let (kind, own) = match name.split_once('/') {
        Some((kind, own)) => (kind, Some(own)),
        None => (name, None),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if own.is_some_and(|own| own.is_empty() || own.len() > 64 || !own.chars().all(is_plain)) {
        return Err(Problem::new(
            "what follows the `/` is letters, digits, `_`, `-` and `.`",
        ));
    }
    match kind {
        "otlp" => Err(Problem::new("write `otlp_grpc` or `otlp_http`")),
        "otlphttp" => Err(Problem::new("write `otlp_http`")),
        _ => yaml::read_with(written, |node| Exporter::read(kind, node))
            .unwrap_or_else(|| Err(unknown("there is no exporter", kind, Exporter::KINDS))),
    }
}

fn unknown(what: &str, written: &str, known: &[&str]) -> Problem {
    Problem::new(match problem::meant(written, known) {
        Some(name) => format!("{what} `{written}`; did you mean `{name}`?"),
        None => format!("{what} `{written}`; there are {}", known.join(", ")),
    })
}
