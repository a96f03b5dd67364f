//! One pid's images over the last seconds: pids are reused, and an exec starts a new image.

use std::sync::Arc;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::mappings::MappingSet;
use super::reader::FoundProcess;
use crate::profile::{BootTime, Process, ProcessKey};

/// Images of one pid that are kept; the oldest goes first.
const MAX_IMAGES: usize = 8;
/// A sample this long after the process ended is of another process with its pid.
const AFTER_END: Duration = Duration::from_millis(100);

/// Whether the cgroup that [`Image::process`] has was read for this image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CgroupState {
    /// Taken over from the image before, or the parent.
    Inherited,
    /// Read from /proc.
    Read,
    /// Belongs to samples with this cgroup id.
    OfId(u64),
}

/// A process image.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) process: Arc<Process>,
    /// When the image began as far as is known: exec, fork, or the scan that found it.
    pub(super) image: BootTime,
    /// Last read from /proc; events before are in what was read. 0 when never.
    pub(super) scanned: BootTime,
    /// When the next image replaced it, or the process ended.
    pub(super) ended: Option<BootTime>,
    pub(super) mappings: Arc<MappingSet>,
    pub(super) cgroup: CgroupState,
}

impl Image {
    /// The image of a process that was found by a scan.
    pub(super) fn found(pid: u32, started: BootTime, found: &mut FoundProcess) -> Self {
        let Cgroup {
            path, container, ..
        } = found.cgroup.take().unwrap_or(Cgroup {
            path: Box::default(),
            container: None,
            unified: false,
            id: 0,
        });
        let mut mappings = MappingSet::default();
        let seen = found.at..found.done;
        mappings.replace(seen, None, found.mappings.take().unwrap_or_default());
        Self {
            process: Arc::new(Process {
                key: ProcessKey { pid, started },
                parent: found.parent,
                comm: std::mem::take(&mut found.comm),
                executable: std::mem::take(&mut found.executable),
                cgroup: path,
                container,
                kernel: found.kernel,
                resource: Arc::default(),
            }),
            image: found.at,
            scanned: found.at,
            ended: None,
            mappings: Arc::new(mappings),
            cgroup: CgroupState::Read,
        }
    }

    /// An image that began at `time` and about which `process` is all that is known.
    pub(super) fn begun(time: BootTime, process: Process, mappings: Arc<MappingSet>) -> Self {
        Self {
            process: Arc::new(process),
            image: time,
            scanned: BootTime(0),
            ended: None,
            mappings,
            cgroup: CgroupState::Inherited,
        }
    }

    /// Changes what is known of the process.
    pub(super) fn amend(&mut self, change: impl FnOnce(&mut Process)) {
        change(Arc::make_mut(&mut self.process));
    }
}

/// The images that a pid had, oldest first; never empty.
#[derive(Clone, Debug)]
pub(super) struct History {
    images: Vec<Image>,
    /// Live threads, as far as events tell.
    pub(super) threads: u32,
    /// When the main thread ended.
    pub(super) leader_ended: Option<BootTime>,
    /// Is the pid in the list of changed ones?
    pub(super) changed: bool,
}

impl History {
    pub(super) fn new(image: Image, threads: u32) -> Self {
        Self {
            images: vec![image],
            threads,
            leader_ended: None,
            changed: false,
        }
    }

    /// The newest image, ended or not.
    pub(super) fn last(&self) -> &Image {
        self.images.last().expect("a history has an image")
    }

    /// The newest image, ended or not.
    pub(super) fn last_mut(&mut self) -> &mut Image {
        self.images.last_mut().expect("a history has an image")
    }

    /// The image of now; `None` when the process ended.
    pub(super) fn current(&self) -> Option<&Image> {
        Some(self.last()).filter(|image| image.ended.is_none())
    }

    /// The image of now, unless what happened at `time` is already in what was read of it.
    pub(super) fn current_before(&mut self, time: BootTime) -> Option<&mut Image> {
        Some(self.last_mut())
            .filter(|image| image.ended.is_none() && time >= image.scanned.max(image.image))
    }

    /// The image of now, unless `time` is before it. What happened between that and when it was read is in what was
    /// read, but not when it happened.
    pub(super) fn current_since(&mut self, time: BootTime) -> Option<&mut Image> {
        Some(self.last_mut()).filter(|image| image.ended.is_none() && time >= image.image)
    }

    /// The image that a sample at `time` is of.
    pub(super) fn at(&mut self, time: BootTime) -> Option<&mut Image> {
        let index = self
            .images
            .iter()
            .rposition(|image| image.process.key.started <= time)?;
        Some(&mut self.images[index]).filter(|image| {
            image
                .ended
                .is_none_or(|ended| time <= ended.plus(AFTER_END))
        })
    }

    /// The image that began then, ended or not.
    pub(super) fn of_image(&mut self, began: BootTime) -> Option<&mut Image> {
        self.images.iter_mut().rfind(|image| image.image == began)
    }

    /// The image with this key, ended or not.
    pub(super) fn of_key(&self, key: ProcessKey) -> Option<&Image> {
        self.images.iter().rfind(|image| image.process.key == key)
    }

    /// Starts a new image at `time`.
    pub(super) fn push(&mut self, time: BootTime, image: Image, threads: u32) {
        let last = self.last_mut();
        last.ended.get_or_insert(time);
        if self.images.len() >= MAX_IMAGES {
            self.images.remove(0);
        }
        self.images.push(image);
        self.threads = threads;
        self.leader_ended = None;
    }

    /// Ends the process at `time`.
    pub(super) fn end(&mut self, time: BootTime) {
        self.last_mut().ended.get_or_insert(time);
    }

    /// A thread of the process was still ending at `time`: so it ended then at the earliest. Its pid is nobody
    /// else's before.
    pub(super) fn ending(&mut self, time: BootTime) {
        let its = |image: &&mut Image| image.process.key.started <= time;
        if let Some(image) = self.images.iter_mut().rfind(its)
            && let Some(ended) = &mut image.ended
        {
            *ended = (*ended).max(time);
        }
    }

    /// Forgets what ended or was retired before `keep_from`; false when nothing of a process that
    /// ended before `gone_before` is left to keep.
    pub(super) fn prune(&mut self, keep_from: BootTime, gone_before: BootTime) -> bool {
        if self.last().ended.is_some_and(|ended| ended < gone_before) {
            return false;
        }
        let newest = self.images.len() - 1;
        let mut index = 0;
        self.images.retain(|image| {
            index += 1;
            index > newest || image.ended.is_none_or(|ended| ended >= keep_from)
        });
        for image in &mut self.images {
            // Shared with a fork: what is retired in it is pruned once one of them has its own.
            if image.mappings.has_retired_before(keep_from)
                && let Some(mappings) = Arc::get_mut(&mut image.mappings)
            {
                mappings.prune(keep_from);
            }
        }
        true
    }
}
