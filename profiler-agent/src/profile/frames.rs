//! What flame graphs and the filters of the page know of a profile's parts, without the rest.

use std::sync::Arc;

use super::distinct::Distinct;
use super::{
    BootTime, Function, FunctionIndex, LabelSet, LineEntry, Mapping, Process, ProcessKey,
    ResourceAttribute,
};

/// What is told apart of a process: also what changes in its life, such as its name, because filters ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FrameProcess {
    pid: u32,
    comm: Box<str>,
    executable: Box<str>,
    kernel: bool,
    service: Option<ResourceAttribute>,
}

/// The process, with a start that stands for what is told apart: pids are reused and names change.
pub(super) fn process(process: &Process, distinct: &mut Distinct<FrameProcess>) -> Arc<Process> {
    let known = FrameProcess {
        pid: process.key.pid,
        comm: process.comm.clone(),
        executable: process.executable.clone(),
        kernel: process.kernel,
        service: process.service_name().cloned(),
    };
    let resource = known.service.iter().cloned().collect();
    Arc::new(Process {
        key: ProcessKey {
            pid: known.pid,
            started: BootTime(u64::from(distinct.intern(known))),
        },
        parent: 0,
        comm: process.comm.clone(),
        executable: process.executable.clone(),
        cgroup: "".into(),
        container: None,
        kernel: process.kernel,
        resource,
    })
}

/// The labels without the goroutine's id.
pub(super) fn label_set(set: &LabelSet) -> LabelSet {
    LabelSet {
        labels: set.labels.clone(),
        goroutine: None,
    }
}

/// The file alone.
pub(super) fn mapping(mapping: &Mapping) -> Mapping {
    Mapping {
        file: Arc::clone(&mapping.file),
        memory_start: 0,
        memory_limit: 0,
        file_offset: 0,
        build_id: None,
        htl_hash: None,
    }
}

/// Its name and file.
pub(super) fn function(function: &Function) -> Function {
    Function {
        name: Arc::clone(&function.name),
        system_name: Arc::clone(&function.name),
        file: Arc::clone(&function.file),
        start_line: 0,
    }
}

/// The function without a line.
pub(super) const fn line(function: FunctionIndex) -> LineEntry {
    LineEntry {
        function,
        line: 0,
        column: 0,
    }
}
