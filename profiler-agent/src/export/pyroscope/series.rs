//! Which series a process's samples belong to.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Limits, Options};
use crate::export::pprof;
use crate::profile::{AttributeValue, LabelSet, Process, ProfileKind};

/// Labels of a series by name.
pub(super) type Labels = BTreeMap<String, String>;

const NAME: &str = "__name__";
const SERVICE_NAME: &str = "service_name";

/// Labels from attributes: the first attribute that is there.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("namespace", &["k8s.namespace.name"]),
    ("pod", &["k8s.pod.name"]),
    ("container", &["k8s.container.name", "container.name"]),
    ("node", &["k8s.node.name"]),
    ("service_namespace", &["service.namespace"]),
    ("service_version", &["service.version"]),
    (
        "deployment_environment",
        &["deployment.environment.name", "deployment.environment"],
    ),
    ("service_repository", &["vcs.repository.url.full"]),
    ("service_git_ref", &["vcs.ref.head.revision"]),
];

/// What Pyroscope calls profiles of this kind, whichever way they come: profiles of CPU time as those of Go programs,
/// others by their type.
const fn metric(kind: ProfileKind) -> &'static str {
    match kind {
        ProfileKind::OnCpu => "process_cpu",
        ProfileKind::OffCpu | ProfileKind::Wall => kind.name(),
    }
}

/// The labels of a process's series, within the limits.
pub(super) fn labels(process: &Process, kind: ProfileKind, options: &Options) -> Labels {
    let limits = &options.limits;
    let mut labels = Labels::new();
    let mut add = |name: &str, value: &str| {
        let (name, value) = (label_name(name, limits), cut(value, limits.label_value));
        if !value.is_empty() && labels.len() < limits.labels && !labels.contains_key(&name) {
            labels.insert(name, value.to_owned());
        }
    };
    // What comes first stays.
    add(NAME, metric(kind));
    let service = options.service_name.as_deref();
    let named = [service.unwrap_or(""), process.service()];
    let name = named.into_iter().find(|name| !name.is_empty());
    add(SERVICE_NAME, name.unwrap_or(""));
    // The counts are of the window, not of all time.
    add("__delta__", "false");
    for (name, keys) in ATTRIBUTES {
        let value = keys.iter().find_map(|key| attribute(process, key));
        add(name, value.unwrap_or(""));
    }
    add(
        "container",
        process.container.as_ref().map_or("", |id| &id.0),
    );
    if !process.kernel {
        add("comm", &process.comm);
    }
    for (name, value) in &options.labels {
        add(name, value);
    }
    add("node", options.node.as_deref().unwrap_or(""));
    labels
}

fn attribute<'a>(process: &'a Process, key: &str) -> Option<&'a str> {
    let attributes = &process.resource;
    let found = attributes.binary_search_by(|attribute| (*attribute.key).cmp(key));
    match &attributes[found.ok()?].value {
        AttributeValue::Text(value) => Some(value),
        AttributeValue::Integer(_) | AttributeValue::Truth(_) => None,
    }
}

/// The labels of samples that a series has room for: names as Pyroscope takes them, by the names as they are.
pub(super) fn sample_labels<'a>(
    sets: impl Iterator<Item = &'a LabelSet>,
    series: &Labels,
    limits: &Limits,
) -> BTreeMap<String, String> {
    let keys: BTreeSet<&str> = sets
        .flat_map(|set| set.labels.iter().map(|label| &*label.key))
        .collect();
    let mut names = BTreeMap::new();
    let mut taken: BTreeSet<String> = series.keys().cloned().collect();
    taken.extend(pprof::OURS.map(str::to_owned));
    for key in keys {
        if series.len() + names.len() >= limits.labels {
            break;
        }
        let mut name = label_name(key, limits);
        if taken.contains(&name) {
            name = label_name(&format!("label_{key}"), limits);
        }
        if taken.insert(name.clone()) {
            names.insert(key.to_owned(), name);
        }
    }
    names
}

/// A name of letters, digits and underscores, as every version takes it.
fn label_name(name: &str, limits: &Limits) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut fitting: String = name.chars().map(allowed).collect();
    if !fitting.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        fitting.insert(0, '_');
    }
    fitting.truncate(limits.label_name);
    fitting
}

/// The text, or as many characters of it as fit.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
