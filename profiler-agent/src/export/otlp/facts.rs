//! What attributes say of a process and its thread.

use std::sync::Arc;

use super::{
    CONTAINER_ID, GOROUTINE_ID, KERNEL_EXECUTABLE, LABEL_PREFIX, PROCESS_CGROUP, PROCESS_COMM,
    PROCESS_EXECUTABLE_NAME, PROCESS_EXECUTABLE_PATH, PROCESS_PID, SERVICE_NAME, THREAD_ID,
    THREAD_NAME,
};
use crate::profile::{
    AttributeValue, BootTime, ContainerId, Label, LabelSet, Process, ProcessKey, ResourceAttribute,
    THREAD_STATE, Thread,
};

/// Facts from a resource, and from a sample's own attributes, which come last.
#[derive(Clone, Default)]
pub(super) struct Facts {
    pid: u32,
    tid: u32,
    thread: Arc<str>,
    service: Arc<str>,
    comm: Arc<str>,
    executable_name: Arc<str>,
    executable_path: Arc<str>,
    cgroup: Arc<str>,
    container: Arc<str>,
    labels: Vec<Label>,
    goroutine: Option<u64>,
}

impl Facts {
    pub(super) fn text(&mut self, key: &str, text: &str) {
        let fact = match key {
            SERVICE_NAME => &mut self.service,
            CONTAINER_ID => &mut self.container,
            PROCESS_COMM => &mut self.comm,
            PROCESS_CGROUP => &mut self.cgroup,
            PROCESS_EXECUTABLE_NAME => &mut self.executable_name,
            PROCESS_EXECUTABLE_PATH => &mut self.executable_path,
            THREAD_NAME => &mut self.thread,
            _ => return self.label(key, text),
        };
        *fact = text.into();
    }

    pub(super) fn number(&mut self, key: &str, number: i64) {
        if key == GOROUTINE_ID {
            self.goroutine = u64::try_from(number).ok();
        }
        let number = u32::try_from(number).unwrap_or(0);
        match key {
            PROCESS_PID => self.pid = number,
            THREAD_ID => self.tid = number,
            _ => {}
        }
    }

    fn label(&mut self, key: &str, text: &str) {
        let own = (key == THREAD_STATE).then_some(key);
        if let Some(key) = own.or_else(|| key.strip_prefix(LABEL_PREFIX)) {
            self.labels.push(Label {
                key: key.into(),
                value: text.into(),
            });
        }
    }

    /// All texts that a process, its thread and its labels are made of.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let Self {
            pid: _,
            tid: _,
            thread,
            service,
            comm,
            executable_name,
            executable_path,
            cgroup,
            container,
            labels,
            goroutine: _,
        } = self;
        let labels = labels.iter().flat_map(|label| [&label.key, &label.value]);
        let own = [
            thread,
            service,
            comm,
            executable_name,
            executable_path,
            cgroup,
            container,
        ];
        own.into_iter().chain(labels).map(|text| &**text)
    }

    pub(super) fn labels(&self) -> LabelSet {
        let mut labels = self.labels.clone();
        labels.sort_unstable();
        labels.dedup_by(|next, kept| next.key == kept.key);
        LabelSet {
            labels: labels.into(),
            goroutine: self.goroutine,
        }
    }

    pub(super) fn process(&self) -> Process {
        let kernel = &*self.executable_name == KERNEL_EXECUTABLE;
        // Without a path the name still tells what runs; without both, the service.
        let names = [&self.executable_path, &self.executable_name, &self.service];
        let executable = names.into_iter().find(|name| !name.is_empty());
        let executable = match executable {
            Some(name) if !kernel => name,
            _ => "",
        };
        let comm = match &*self.comm {
            "" => executable.rsplit('/').next().unwrap_or(""),
            comm => comm,
        };
        let mut process = Process {
            key: ProcessKey {
                pid: self.pid,
                started: BootTime(0),
            },
            parent: 0,
            comm: comm.into(),
            executable: executable.into(),
            cgroup: (*self.cgroup).into(),
            container: (!self.container.is_empty()).then(|| ContainerId((*self.container).into())),
            kernel,
            resource: Arc::default(),
        };
        if !kernel && !self.service.is_empty() && *self.service != *process.name() {
            process.resource = Arc::new([ResourceAttribute {
                key: SERVICE_NAME.into(),
                value: AttributeValue::Text(Arc::clone(&self.service)),
            }]);
        }
        process
    }

    pub(super) fn thread(&self, process: u32) -> Thread {
        Thread {
            process,
            tid: self.tid,
            name: Arc::clone(&self.thread),
        }
    }
}
