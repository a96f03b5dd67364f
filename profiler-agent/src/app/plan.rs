//! What a configuration that is read while the agent runs changes, as a pure plan.
//!
//! | what differs | how it changes |
//! |---|---|
//! | nothing | not at all |
//! | `exporters`, `spool` | those exporters alone: new ones start beside the others, changed ones follow what they replace, and what is closed meanwhile waits for them |
//! | `telemetry.logs`, `telemetry.otlp` | only when the process is started again |
//! | anything else | everything but the process is started again: sampling pauses |

use crate::config::{AgentConfig, Destination};

/// See the module.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is in effect when the change is made.
    pub(super) config: AgentConfig,
    /// The change.
    pub(super) change: Change,
    /// Keys that differ and are in effect when the process is started again.
    pub(super) later: Vec<&'static str>,
}

/// How a configuration takes the place of another one.
#[derive(Debug)]
pub(super) enum Change {
    /// They are the same.
    Nothing,
    /// Some exporters are ended and started.
    Exporters(Exporters),
    /// Everything is ended and started, these exporters too.
    Everything(Exporters),
}

/// A change of exporters.
#[derive(Debug, Default)]
pub(super) struct Exporters {
    /// Those that end.
    pub(super) ended: Vec<String>,
    /// Those that start, of the same names or others.
    pub(super) started: Vec<Start>,
}

/// An exporter that starts.
#[derive(Debug)]
pub(super) struct Start {
    /// The exporter.
    pub(super) destination: Destination,
    /// It may need what one that ends holds: it can only be opened when that has ended.
    pub(super) waits: bool,
}

impl Plan {
    /// From `old`, in effect with the exporters `running`, to `new` with the exporters `wanted`.
    pub(super) fn new(
        old: &AgentConfig,
        mut new: AgentConfig,
        running: &[&Destination],
        wanted: Vec<Destination>,
    ) -> Self {
        let later = keep_what_stays(old, &mut new);
        let exporters = exporters(old, &new, running, wanted);
        let only_exporters = AgentConfig {
            exporters: old.exporters.clone(),
            spool: old.spool.clone(),
            ..new.clone()
        } == *old;
        let change = if !only_exporters {
            Change::Everything(exporters)
        } else if exporters.ended.is_empty() && exporters.started.is_empty() {
            Change::Nothing
        } else {
            Change::Exporters(exporters)
        };
        Self {
            config: new,
            change,
            later,
        }
    }
}

/// Leaves in `new` what only another process can change as it is in `old`; which keys those are.
fn keep_what_stays(old: &AgentConfig, new: &mut AgentConfig) -> Vec<&'static str> {
    let mut later = Vec::new();
    let (before, after) = (&old.telemetry, &mut new.telemetry);
    if before.logs != after.logs {
        after.logs.clone_from(&before.logs);
        later.push("telemetry.logs");
    }
    if before.otlp != after.otlp {
        after.otlp.clone_from(&before.otlp);
        later.push("telemetry.otlp");
    }
    later
}

fn exporters(
    old: &AgentConfig,
    new: &AgentConfig,
    running: &[&Destination],
    wanted: Vec<Destination>,
) -> Exporters {
    let stays =
        |name: &str| old.spool == new.spool && old.exporters.get(name) == new.exporters.get(name);
    let ends: Vec<&Destination> = running
        .iter()
        .copied()
        .filter(|destination| {
            let name = &destination.name;
            !stays(name) || !wanted.iter().any(|wanted| wanted.name == *name)
        })
        .collect();
    let exclusive_ends = ends.iter().any(|ends| ends.target.is_exclusive());
    let ended: Vec<String> = ends.iter().map(|ends| ends.name.clone()).collect();
    let is_kept = |name: &str| {
        running.iter().any(|running| running.name == name) && !ended.iter().any(|e| e == name)
    };
    let started = wanted
        .into_iter()
        .filter(|wanted| !is_kept(&wanted.name))
        .map(|destination| Start {
            waits: exclusive_ends && destination.target.is_exclusive(),
            destination,
        })
        .collect();
    Exporters { ended, started }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> AgentConfig {
        AgentConfig::parse(text, &|_| None).unwrap()
    }

    /// The plan in a line: how, what ends, what starts (`+` beside, `~` after what ends), what is later.
    fn check(old: &str, new: &str, expect: &str) {
        let (old, new) = (config(old), config(new));
        let running = old.destinations();
        let running: Vec<&Destination> = running.iter().collect();
        let wanted = new.destinations();
        let plan = Plan::new(&old, new, &running, wanted);
        let (how, exporters) = match plan.change {
            Change::Nothing => ("nothing", Exporters::default()),
            Change::Exporters(exporters) => ("exporters", exporters),
            Change::Everything(exporters) => ("everything", exporters),
        };
        let mut words = vec![how.to_owned()];
        words.extend(exporters.ended.iter().map(|name| format!("-{name}")));
        words.extend(exporters.started.iter().map(|start| {
            let sign = if start.waits { '~' } else { '+' };
            format!("{sign}{}", start.destination.name)
        }));
        words.extend(plan.later.iter().map(|key| format!("later {key}")));
        assert_eq!(words.join(" "), expect);
        assert_eq!(plan.config.telemetry.logs, old.telemetry.logs);
    }

    const FILE: &str = "exporters: {file: {directory: /a}}";

    #[test]
    fn what_is_the_same_is_left_alone() {
        check("", "", "nothing");
        check(FILE, FILE, "nothing");
        check("sampling: {frequency: 99}", "", "nothing");
    }

    #[test]
    fn exporters_alone_change_exporters_alone() {
        check("", FILE, "exporters +file");
        check(FILE, "", "exporters -file");
        check(
            FILE,
            "exporters: {file: {directory: /a, max_size: 2MiB}}",
            "exporters -file ~file",
        );
        check(
            FILE,
            "exporters: {file/other: {directory: /a}}",
            "exporters -file ~file/other",
        );
        check(
            FILE,
            "exporters: {file: {directory: /a}, file/b: {directory: /b}}",
            "exporters +file/b",
        );
        check(
            "exporters: {otlp_grpc: {endpoint: 'http://a:1'}, file: {directory: /a}}",
            "exporters: {otlp_grpc: {endpoint: 'http://b:1'}, file: {directory: /a}}",
            "exporters -otlp_grpc +otlp_grpc",
        );
        check(
            FILE,
            "spool: {directory: /elsewhere}\nexporters: {file: {directory: /a}}",
            "exporters -file ~file",
        );
    }

    #[test]
    fn anything_else_starts_everything_again() {
        check("", "sampling: {frequency: 19}", "everything");
        check(
            FILE,
            "store: {directory: /b}\nexporters: {file: {directory: /b}}",
            "everything -file ~file",
        );
    }

    #[test]
    fn what_only_another_process_changes_starts_nothing() {
        check(
            "",
            "telemetry: {logs: {level: debug}}",
            "nothing later telemetry.logs",
        );
        check(
            "",
            "telemetry: {otlp: {interval: 5s}}\nsampling: {frequency: 19}",
            "everything later telemetry.otlp",
        );
    }
}
