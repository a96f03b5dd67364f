//! What an event changes in the table.

use std::sync::Arc;

use super::{FEW_MAPPINGS, ProcessTable, mark, unknown};
use crate::process::executables::MappedFile;
use crate::process::history::{History, Image};
use crate::process::reader::Reader;
use crate::profile::{
    BootTime, Degradation, ExecutableMapping, MappingKind, Process, ProcessEvent, ProcessEventKind,
    ProcessKey, ThreadName,
};

impl<R: Reader> ProcessTable<R> {
    /// Takes in what happened. Events are to come in order of time.
    pub fn apply(&mut self, event: &ProcessEvent) {
        let time = event.time;
        match &event.kind {
            ProcessEventKind::Fork {
                pid,
                tid,
                parent_pid,
            } if pid == tid => self.fork(time, *pid, *parent_pid),
            ProcessEventKind::Fork { pid, .. } => {
                if let Some(history) = self.processes.get_mut(pid)
                    && history.current_before(time).is_some()
                {
                    history.threads = history.threads.saturating_add(1);
                }
            }
            ProcessEventKind::Exit { pid, tid } => self.exit(time, *pid, pid == tid),
            ProcessEventKind::Exec { pid, name } => self.exec(time, *pid, *name),
            ProcessEventKind::Rename { pid, tid, name } => {
                if pid == tid
                    && let Some(history) = self.processes.get_mut(pid)
                    && let Some(image) = history.current_before(time)
                {
                    image.amend(|process| process.comm = name.to_text().into());
                }
            }
            ProcessEventKind::Map {
                pid,
                range,
                offset,
                identity,
                path,
            } => self.map(&MappedFile {
                pid: *pid,
                range: range.clone(),
                offset: *offset,
                identity: *identity,
                path,
                time,
            }),
            // They are no process's.
            ProcessEventKind::KernelCodeCame { .. } | ProcessEventKind::KernelCodeWent { .. } => {}
            ProcessEventKind::Lost { since, .. } => self.lose(*since, time),
        }
    }

    /// Records between `since` and `until` were lost.
    fn lose(&mut self, since: BootTime, until: BootTime) {
        let lost = self.lost.get_or_insert(since..until);
        *lost = lost.start.min(since)..lost.end.max(until);
        for history in self.processes.values_mut() {
            let image = history.last_mut();
            if image.ended.is_none() && image.mappings.has_retired() {
                Arc::make_mut(&mut image.mappings).doubt(since, until);
            }
        }
    }

    fn fork(&mut self, time: BootTime, pid: u32, parent_pid: u32) {
        if self
            .processes
            .get(&pid)
            .is_some_and(|known| time <= known.last().scanned.max(known.last().image))
        {
            return;
        }
        let key = ProcessKey { pid, started: time };
        let parent = self
            .processes
            .get_mut(&parent_pid)
            .and_then(|parent| parent.at(time))
            .map(|parent| (Arc::clone(&parent.process), Arc::clone(&parent.mappings)));
        let image = if let Some((process, mappings)) = parent {
            let process = Process {
                key,
                parent: parent_pid,
                // It publishes its own, or none.
                resource: Arc::default(),
                ..(*process).clone()
            };
            Image::begun(time, process, mappings)
        } else if self.read(pid, time) {
            // The parent came and went unseen: what there is to know, /proc knew.
            return;
        } else {
            Image::begun(time, unknown(key, parent_pid), Arc::default())
        };
        match self.processes.get_mut(&pid) {
            Some(history) => {
                history.push(time, image, 1);
                mark(&mut self.changed, pid, history);
            }
            None => self.insert(pid, History::new(image, 1)),
        }
    }

    fn exec(&mut self, time: BootTime, pid: u32, name: ThreadName) {
        let comm = name.to_text().into_boxed_str();
        let key = ProcessKey { pid, started: time };
        let Some(history) = self.processes.get_mut(&pid) else {
            let process = Process {
                comm,
                ..unknown(key, 0)
            };
            let image = Image::begun(time, process, Arc::default());
            self.insert(pid, History::new(image, 1));
            return;
        };
        let last = history.last();
        if time <= last.scanned.max(last.image) {
            return;
        }
        let process = Process {
            key,
            comm,
            executable: Box::default(),
            kernel: false,
            resource: Arc::default(),
            ..(*last.process).clone()
        };
        history.push(time, Image::begun(time, process, Arc::default()), 1);
        mark(&mut self.changed, pid, history);
    }

    fn exit(&mut self, time: BootTime, pid: u32, leader: bool) {
        let Some(history) = self.processes.get_mut(&pid) else {
            return;
        };
        if history.current_before(time).is_none() {
            return;
        }
        history.threads = history.threads.saturating_sub(1);
        if leader {
            history.leader_ended = Some(time);
        }
        if history.threads == 0 && history.leader_ended.is_some() {
            history.end(time);
            mark(&mut self.changed, pid, history);
        }
    }

    fn map(&mut self, mapped: &MappedFile<'_>) {
        let Some(image) = self
            .processes
            .get_mut(&mapped.pid)
            .and_then(|history| history.current_since(mapped.time))
        else {
            return;
        };
        if self.crowded && image.mappings.len() > FEW_MAPPINGS {
            self.losses.add(Degradation::MappingTableFull, 1);
            return;
        }
        let mapping = ExecutableMapping {
            range: mapped.range.clone(),
            kind: self.reader.content(mapped),
        };
        // The first file that an exec maps is the program itself.
        if image.process.executable.is_empty()
            && let MappingKind::File { executable, .. } = &mapping.kind
            && executable.path.starts_with('/')
        {
            let path = executable.path.clone();
            image.amend(|process| process.executable = path);
        }
        let inserted = Arc::make_mut(&mut image.mappings).insert(mapped.time, mapping);
        self.note(mapped.pid, inserted);
    }
}
