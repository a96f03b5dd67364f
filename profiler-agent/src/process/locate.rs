//! [`ProcessTable::locate`]: a sample's addresses to places in files, by the mappings that were
//! valid at its time.

use std::sync::Arc;

use hashbrown::HashMap;
use profiler_common::layout::{Frame, SampleFlags};

use super::cgroup::Cgroup;
use super::history::{CgroupState, History, Image};
use super::mappings::MappingSet;
use super::reader::Reader;
use super::table::{ProcessTable, unknown};
use crate::profile::{
    BootTime, ContainerId, ExecutableMapping, FileOffset, KernelAddress, LocatedFrame,
    LocatedSample, LocationKey, MappingKind, Pc, ProcessKey, RawSample, SampleLoss, ThreadName,
    VirtualAddress,
};

/// cgroup ids whose path is remembered.
const MAX_CGROUPS: usize = 4_096;

/// Paths of cgroup v2 ids.
#[derive(Debug, Default)]
pub(super) struct Cgroups(HashMap<u64, (Box<str>, Option<ContainerId>)>);

impl<R: Reader> ProcessTable<R> {
    /// Looks the frames of `sample` up. Kernel frames come first, then user frames, then
    /// `LocationKey::Broken` where the root was not reached.
    ///
    /// # Errors
    /// `SampleLoss::ProcessUnknown` when events did not tell of the process and it is gone.
    pub fn locate(&mut self, sample: &RawSample) -> Result<LocatedSample, SampleLoss> {
        let (pid, time) = (sample.pid, sample.time);
        if sample.flags.has(SampleFlags::EXITING)
            && let Some(history) = self.processes.get_mut(&pid)
        {
            history.ending(time);
        }
        if !self.knows(pid, time) {
            if sample.flags.has(SampleFlags::KERNEL_THREAD) {
                self.insert_kernel_thread(sample);
            } else {
                self.read(pid, time);
            }
        }
        let Self {
            processes,
            reader,
            cgroups,
            ..
        } = self;
        let image = processes
            .get_mut(&pid)
            .and_then(|history| history.at(time))
            .ok_or(SampleLoss::ProcessUnknown)?;
        if image.cgroup != CgroupState::OfId(sample.cgroup) {
            cgroups.settle(image, sample, reader);
        }
        if image.process.kernel && !is_named(&image.process.comm, sample.thread_name) {
            // A worker thread takes the name of what it works for.
            image.amend(|process| process.comm = sample.thread_name.to_text().into());
        }
        let frames = frames_of(sample, &image.mappings, image.process.key);
        Ok(LocatedSample {
            time,
            kind: sample.kind,
            value: sample.value,
            runnable: sample.runnable,
            process: Arc::clone(&image.process),
            tid: sample.tid,
            cpu: sample.cpu,
            thread_name: sample.thread_name,
            outcome: sample.outcome,
            flags: sample.flags,
            frames,
            context: None,
        })
    }

    /// What the process of a sample that was located mapped.
    #[must_use]
    pub fn mappings_at(&mut self, pid: u32, time: BootTime) -> Option<Arc<MappingSet>> {
        let image = self.processes.get_mut(&pid)?.at(time)?;
        Some(Arc::clone(&image.mappings))
    }

    fn knows(&mut self, pid: u32, time: BootTime) -> bool {
        self.processes
            .get_mut(&pid)
            .is_some_and(|history| history.at(time).is_some())
    }

    fn insert_kernel_thread(&mut self, sample: &RawSample) {
        let started = BootTime(0);
        let key = ProcessKey {
            pid: sample.pid,
            started,
        };
        let mut process = unknown(key, 0);
        process.kernel = true;
        process.comm = sample.thread_name.to_text().into();
        let image = Image::begun(started, process, Arc::default());
        self.insert(sample.pid, History::new(image, 1));
    }
}

impl Cgroups {
    /// Finds out the cgroup of an image whose samples come from `sample.cgroup`.
    fn settle(&mut self, image: &mut Image, sample: &RawSample, reader: &mut impl Reader) {
        let id = sample.cgroup;
        let just_read = image.cgroup == CgroupState::Read;
        image.cgroup = CgroupState::OfId(id);
        if let Some((path, container)) = self.0.get(&id) {
            if image.process.cgroup != *path {
                image.amend(|process| {
                    process.cgroup.clone_from(path);
                    process.container.clone_from(container);
                });
            }
            return;
        }
        // What a scan read a moment ago is taken for it, unless samples say that it moved.
        if just_read || image.process.kernel {
            return;
        }
        let Some(Cgroup {
            path,
            container,
            id: its_id,
            ..
        }) = reader.cgroup(sample.tid)
        else {
            return;
        };
        // Not under the sample's id: the thread may have been moved since.
        if its_id != 0 {
            if self.0.len() >= MAX_CGROUPS {
                self.0.clear();
            }
            self.0.insert(its_id, (path.clone(), container.clone()));
        }
        if image.process.cgroup != path {
            image.amend(|process| {
                process.cgroup = path;
                process.container = container;
            });
        }
    }
}

/// The frames of a sample of the process `key`, which mapped these: kernel frames come first, then user frames, then
/// `LocationKey::Broken` where the root was not reached.
#[must_use]
pub fn frames_of(sample: &RawSample, mappings: &MappingSet, key: ProcessKey) -> Vec<LocatedFrame> {
    let broken = !sample.outcome.complete();
    let mut frames =
        Vec::with_capacity(sample.kernel.len() + sample.user.len() + usize::from(broken));
    let interrupted = sample.flags.has(SampleFlags::IN_KERNEL);
    frames.extend(sample.kernel.iter().enumerate().map(|(depth, address)| {
        let called = u64::from(depth > 0 || !interrupted);
        frame(LocationKey::Kernel(KernelAddress(
            address.0.saturating_sub(called),
        )))
    }));
    let mut last: Option<&ExecutableMapping> = None;
    for user in sample.user_frames() {
        let raw = match user {
            Frame::Code(raw) => raw,
            Frame::Interpreted(interpreted) => {
                frames.push(frame(LocationKey::interpreted(key, interpreted)));
                continue;
            }
        };
        if raw.return_probe() {
            frames.push(frame(LocationKey::ReturnProbe));
            continue;
        }
        let pc = VirtualAddress(raw.pc());
        let address = if raw.interrupted() {
            Pc::Interrupted(pc)
        } else {
            Pc::Return(pc)
        }
        .lookup();
        if !last.is_some_and(|mapping| mapping.range.contains(&address)) {
            last = mappings.at(address, sample.time);
        }
        frames.push(in_mapping(address, last, key));
    }
    if broken {
        frames.push(frame(LocationKey::Broken(sample.outcome)));
    }
    frames
}

fn in_mapping(
    address: VirtualAddress,
    mapping: Option<&ExecutableMapping>,
    process: ProcessKey,
) -> LocatedFrame {
    match mapping {
        None => frame(LocationKey::Unmapped(process, address)),
        Some(ExecutableMapping { range, kind }) => match kind {
            MappingKind::File { executable, offset } => {
                let within = address.0.wrapping_sub(range.start.0);
                LocatedFrame {
                    key: LocationKey::File(
                        executable.id,
                        FileOffset(offset.0.wrapping_add(within)),
                    ),
                    executable: Some(Arc::clone(executable)),
                    kernel_code: None,
                }
            }
            MappingKind::Anonymous => frame(LocationKey::Anonymous(process, address)),
        },
    }
}

fn is_named(comm: &str, name: ThreadName) -> bool {
    name.0.split(|byte| *byte == 0).next() == Some(comm.as_bytes())
}

const fn frame(key: LocationKey) -> LocatedFrame {
    LocatedFrame {
        key,
        executable: None,
        kernel_code: None,
    }
}
