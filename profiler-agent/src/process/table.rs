//! The processes of the machine, kept up to date by side-band events.
//!
//! - A pid has images over time ([`History`]): a fork starts one (with its parent's mappings,
//!   shared until one of them changes), an exec starts one (without any), a scan finds one. What
//!   happened before a scan is in the scan, so older events are left out.
//! - A process ends when its main thread and the last other thread are gone; it stays known for
//!   [`KEPT_AFTER_EXIT`], so that late samples are located, and earlier images and mappings for
//!   [`KEPT_AFTER_CHANGE`].
//! - [`ProcessTable::take_changed`] names the processes whose image or file mappings changed or
//!   that ended, each once, for the kernel side to be told.
//! - After the kernel lost records, [`ProcessTable::scan_wanted`] is true until the next
//!   [`ProcessTable::scan`].

mod events;
mod reads;
mod unread;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::history::{History, Image};
use super::locate::Cgroups;
use super::mappings::Inserted;
use super::reader::{FoundProcess, Reader};
use crate::profile::{
    BootTime, Degradation, ExecutableMapping, Losses, Process, ProcessKey, ResourceAttribute,
};
use reads::Reads;
use unread::Unread;

/// How long a process that ended stays known.
pub const KEPT_AFTER_EXIT: Duration = Duration::from_secs(2);
/// How long earlier images and mappings of a live process stay known.
pub const KEPT_AFTER_CHANGE: Duration = Duration::from_secs(5);
/// Processes that are kept.
pub const MAX_PROCESSES: usize = 65_536;
/// Mappings of all processes above which only those that have few get more.
const MAX_MAPPINGS_IN_ALL: usize = 1 << 20;
/// What are few.
const FEW_MAPPINGS: usize = 1_024;
/// How far a process's start may be read as later than an event saw it (clock ticks are coarse).
const START_SLACK: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub struct ProcessTable<R> {
    pub(super) processes: HashMap<u32, History>,
    pub(super) reader: R,
    pub(super) cgroups: Cgroups,
    pub(super) losses: Losses,
    changed: Vec<u32>,
    /// Between when side-band records were lost that no scan has made up for.
    lost: Option<Range<BootTime>>,
    crowded: bool,
    reads: Reads,
    unread: Unread,
}

impl<R: Reader> ProcessTable<R> {
    /// No process known.
    #[must_use]
    pub fn new(reader: R) -> Self {
        Self {
            processes: HashMap::new(),
            reader,
            cgroups: Cgroups::default(),
            losses: Losses::default(),
            changed: Vec::new(),
            lost: None,
            crowded: false,
            reads: Reads::default(),
            unread: Unread::default(),
        }
    }

    /// Number of processes that are known, those that ended a moment ago included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Reads every process there is, and ends those that are not there any more. To be called once
    /// the side-band is open, and when [`ProcessTable::scan_wanted`].
    pub fn scan(&mut self, now: BootTime) {
        let mut pids = self.reader.pids();
        for pid in &pids {
            if let Some(found) = self.reader.process(*pid) {
                self.adopt(*pid, found);
            }
        }
        pids.sort_unstable();
        for (pid, history) in &mut self.processes {
            if history.current().is_some_and(|image| image.image < now)
                && pids.binary_search(pid).is_err()
            {
                history.end(now);
                mark(&mut self.changed, *pid, history);
            }
        }
        self.lost = None;
    }

    /// Did the kernel lose side-band records since the last scan?
    #[must_use]
    pub const fn scan_wanted(&self) -> bool {
        self.lost.is_some()
    }

    /// The processes whose image or set of file mappings changed, or that ended, since the last
    /// call; each once.
    pub fn take_changed(&mut self) -> Vec<u32> {
        for pid in &self.changed {
            if let Some(history) = self.processes.get_mut(pid) {
                history.changed = false;
            }
        }
        std::mem::take(&mut self.changed)
    }

    /// When the image of a live process began: its exec or fork, or the scan that found it.
    #[must_use]
    pub fn image(&self, pid: u32) -> Option<BootTime> {
        Some(self.processes.get(&pid)?.current()?.image)
    }

    /// The executable mappings of a live process, sorted by address.
    pub fn mappings(&self, pid: u32) -> impl Iterator<Item = &ExecutableMapping> {
        self.processes
            .get(&pid)
            .and_then(History::current)
            .into_iter()
            .flat_map(|image| image.mappings.current())
    }

    /// What is known of a live process.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Arc<Process>> {
        Some(&self.processes.get(&pid)?.current()?.process)
    }

    /// What is known by now of the process of a sample that was located before.
    #[must_use]
    pub fn known(&self, key: ProcessKey) -> Option<&Arc<Process>> {
        let image = self.processes.get(&key.pid)?.of_key(key)?;
        Some(&image.process)
    }

    /// The live processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes
            .iter()
            .filter(|(_, history)| history.current().is_some())
            .map(|(pid, _)| *pid)
    }

    /// Notes the attributes of an image, which may have ended; what is known of it then, where it is still known.
    pub fn set_resource(
        &mut self,
        pid: u32,
        image: BootTime,
        resource: Arc<[ResourceAttribute]>,
    ) -> Option<&Arc<Process>> {
        let image = self.processes.get_mut(&pid)?.of_image(image)?;
        image.amend(|process| process.resource = resource);
        Some(&image.process)
    }

    /// Is the process unknown, or did it end?
    #[must_use]
    pub fn ended(&self, pid: u32) -> bool {
        self.image(pid).is_none()
    }

    /// Forgets what no late sample can need any more; to be called about once a second.
    pub fn prune(&mut self, now: BootTime) {
        let before = |age: Duration| BootTime(now.0.saturating_sub(age.as_nanos() as u64));
        let (keep_from, gone_before) = (before(KEPT_AFTER_CHANGE), before(KEPT_AFTER_EXIT));
        for (pid, history) in &mut self.processes {
            // A count of threads that went wrong (lost records) must not keep a process for ever.
            if let Some(ended) = history.leader_ended
                && ended < gone_before
                && history.current().is_some()
            {
                history.threads = self.reader.threads(*pid);
                history.leader_ended = Some(now);
                if history.threads == 0 {
                    history.end(now);
                    mark(&mut self.changed, *pid, history);
                }
            }
        }
        self.processes
            .retain(|_, history| history.prune(keep_from, gone_before));
        let mappings: usize = self
            .processes
            .values()
            .map(|history| history.last().mappings.len())
            .sum();
        self.crowded = mappings > MAX_MAPPINGS_IN_ALL;
        for pid in self.unread.due(now) {
            let Some(found) = self.reader.process(pid) else {
                self.unread.end(pid, None);
                continue;
            };
            let is_late = found.mappings.is_none();
            self.adopt(pid, found);
            // One that was waited for in vain is enough for now: samples wait meanwhile.
            if is_late {
                break;
            }
        }
        self.reads.prune(now);
        self.reader.prune(now);
    }

    /// What was lost since the last call, by cause.
    pub fn take_losses(&mut self) -> Losses {
        let mut losses = self.losses.take();
        losses.merge(&self.reader.take_losses());
        losses
    }

    /// Reads a process that events did not tell of; false when there is none, or too many were read
    /// this second.
    pub(super) fn read(&mut self, pid: u32, time: BootTime) -> bool {
        if !self.reads.allow(pid, time) {
            return false;
        }
        let Some(found) = self.reader.process(pid) else {
            self.reads.note_missing(pid, time);
            return false;
        };
        self.adopt(pid, found);
        true
    }

    /// Adds a history for `pid`, if there is room.
    pub(super) fn insert(&mut self, pid: u32, history: History) {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            self.losses.add(Degradation::ProcessTableFull, 1);
            return;
        }
        let history = self.processes.entry(pid).insert(history).into_mut();
        mark(&mut self.changed, pid, history);
    }

    fn adopt(&mut self, pid: u32, mut found: FoundProcess) {
        let lost = self.lost.clone();
        let lost = if found.mappings.is_some() {
            self.unread.end(pid, lost)
        } else {
            self.unread.note(pid, lost, found.at);
            None
        };
        let Some(history) = self.processes.get_mut(&pid) else {
            let threads = found.threads;
            let image = Image::found(pid, found.started, &mut found);
            self.insert(pid, History::new(image, threads));
            return;
        };
        let last = history.last_mut();
        let known_start = last.process.key.started;
        if last.ended.is_some() || found.started > known_start.plus(START_SLACK) {
            // Another process with this pid; it began after whatever was known ended.
            let started = found.started.max(last.ended.unwrap_or(known_start));
            let (at, threads) = (found.at, found.threads);
            let image = Image::found(pid, started, &mut found);
            history.push(at, image, threads);
            mark(&mut self.changed, pid, history);
            return;
        }
        if !last.process.executable.is_empty() && last.process.executable != found.executable {
            let (at, threads) = (found.at, found.threads);
            let image = Image::found(pid, at, &mut found);
            history.push(at, image, threads);
            mark(&mut self.changed, pid, history);
            return;
        }
        if last.process.comm != found.comm || last.process.executable != found.executable {
            last.amend(|process| {
                process.comm = found.comm;
                process.executable = found.executable;
            });
        }
        history.threads = found.threads;
        // What is known stays where they were not read.
        let Some(mappings) = found.mappings else {
            return;
        };
        let last = history.last_mut();
        last.scanned = found.at;
        let seen = found.at..found.done;
        let known = Arc::make_mut(&mut last.mappings);
        let inserted = known.replace(seen, lost, mappings);
        self.note(pid, inserted);
    }

    fn note(&mut self, pid: u32, inserted: Inserted) {
        match inserted {
            Inserted::Unchanged | Inserted::Anonymous => {}
            Inserted::Files => {
                if let Some(history) = self.processes.get_mut(&pid) {
                    mark(&mut self.changed, pid, history);
                }
            }
            Inserted::Full => self.losses.add(Degradation::MappingTableFull, 1),
        }
    }
}

fn mark(changed: &mut Vec<u32>, pid: u32, history: &mut History) {
    if !std::mem::replace(&mut history.changed, true) {
        changed.push(pid);
    }
}

/// A process of which only the pid and perhaps the parent are known.
pub(super) fn unknown(key: ProcessKey, parent: u32) -> Process {
    Process {
        key,
        parent,
        comm: Box::default(),
        executable: Box::default(),
        cgroup: Box::default(),
        container: None,
        kernel: false,
        resource: Arc::default(),
    }
}

#[cfg(test)]
mod tests;
