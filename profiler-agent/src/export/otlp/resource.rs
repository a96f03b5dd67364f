//! Resources: who the samples of one `ResourceProfiles` belong to.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::options::{Grouping, Options};
use super::{
    CONTAINER_ID, KERNEL_EXECUTABLE, PROCESS_CGROUP, PROCESS_COMM, PROCESS_EXECUTABLE_NAME,
    PROCESS_EXECUTABLE_PATH, PROCESS_PID, SERVICE_NAME,
};
use crate::profile::{AttributeValue, ContainerId, Profile, ResourceAttribute};

/// A number of processes that share a resource.
pub(super) struct Group {
    /// Index into `Profile::processes` of one of them: they agree in what the resource says.
    process: usize,
    /// May it hold several processes?
    pub(super) shared: bool,
}

#[derive(PartialEq, Eq, Hash)]
enum GroupKey<'a> {
    Kernel,
    Container(&'a ContainerId, &'a str, &'a [ResourceAttribute]),
    Process(usize),
}

/// The groups of a profile's processes, and each process's group.
pub(super) fn groups(profile: &Profile, grouping: Grouping) -> (Vec<Group>, Vec<u32>) {
    let mut indices = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut of_process = Vec::with_capacity(profile.processes.len());
    for (index, process) in profile.processes.iter().enumerate() {
        let key = match (grouping, &process.container) {
            (Grouping::Process, _) => GroupKey::Process(index),
            (Grouping::Container, _) if process.kernel => GroupKey::Kernel,
            (Grouping::Container, Some(id)) => {
                GroupKey::Container(id, &process.executable, &process.resource)
            }
            (Grouping::Container, None) => GroupKey::Process(index),
        };
        let shared = !matches!(key, GroupKey::Process(_));
        let group = *indices.entry(key).or_insert_with(|| {
            groups.push(Group {
                process: index,
                shared,
            });
            groups.len() as u32 - 1
        });
        of_process.push(group);
    }
    (groups, of_process)
}

/// The resource of a group, its attributes in order of key, each once.
pub(super) fn resource(profile: &Profile, group: &Group, options: &Options) -> Resource {
    let process = &profile.processes[group.process];
    let mut attributes: BTreeMap<&str, Value> = BTreeMap::new();
    let text = |text: &str| Value::StringValue(text.to_owned());
    // What comes later is believed more.
    for attribute in &*process.resource {
        let value = match &attribute.value {
            AttributeValue::Text(value) => text(value),
            AttributeValue::Integer(value) => Value::IntValue(*value),
            AttributeValue::Truth(value) => Value::BoolValue(*value),
        };
        attributes.insert(&attribute.key, value);
    }
    attributes.insert(SERVICE_NAME, text(process.service()));
    for (key, value) in &options.resource {
        attributes.insert(key, text(value));
    }
    if let Some(service) = &options.service_name {
        attributes.insert(SERVICE_NAME, text(service));
    }
    let mut known = |key, value: &str| {
        if !value.is_empty() {
            attributes.insert(key, text(value));
        }
    };
    known("telemetry.sdk.name", env!("CARGO_PKG_NAME"));
    known("telemetry.sdk.language", "rust");
    known("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    known("host.id", options.host.id.as_deref().unwrap_or(""));
    known("host.name", options.host.name.as_deref().unwrap_or(""));
    known("host.arch", options.host.arch.unwrap_or(""));
    known(
        CONTAINER_ID,
        process.container.as_ref().map_or("", |id| &id.0),
    );
    if process.kernel {
        known(PROCESS_EXECUTABLE_NAME, KERNEL_EXECUTABLE);
    } else {
        known(PROCESS_EXECUTABLE_NAME, process.name());
        known(PROCESS_EXECUTABLE_PATH, &process.executable);
    }
    if !group.shared {
        known(PROCESS_CGROUP, &process.cgroup);
        if options.grouping == Grouping::Process {
            known(PROCESS_COMM, &process.comm);
        }
        let pid = Value::IntValue(i64::from(process.key.pid));
        attributes.insert(PROCESS_PID, pid);
    }
    Resource {
        attributes: attributes
            .into_iter()
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, value)| KeyValue {
                key: key.to_owned(),
                value: Some(AnyValue { value: Some(value) }),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
