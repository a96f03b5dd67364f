//! The rings: one per CPU.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{ArrayOfMaps, Map, MapData, RingBuf};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;

use super::decode::{self, Record};
use super::error::{Attempt, Refusal};
use crate::profile::{RawSample, StackSnapshot};

/// The rings of the CPUs that are online.
pub struct Rings {
    outer: ArrayOfMaps<MapData, MapData>,
    rings: BTreeMap<u32, Ring>,
    bytes: u32,
    /// The code of `__schedule`, where that is known.
    schedule: Option<Range<u64>>,
}

struct Ring {
    reader: RingBuf<MapData>,
    snapshots: Snapshots,
}

/// Parts of samples that have not come yet, the oldest first. A sample off CPU may be interrupted by one on CPU before it is
/// written: there are two of them at most.
#[derive(Default)]
struct Snapshots(Vec<StackSnapshot>);

impl Snapshots {
    const MOST: usize = 2;

    fn add(&mut self, mut snapshot: Box<StackSnapshot>) {
        for begun in &mut self.0 {
            match begun.append(snapshot) {
                None => return,
                Some(another) => snapshot = another,
            }
        }
        if self.0.len() == Self::MOST {
            self.0.remove(0);
        }
        self.0.push(*snapshot);
    }

    /// The one of this sample. Samples of those that are newer have come or never will.
    fn take(&mut self, sample: &RawSample) -> Option<Box<StackSnapshot>> {
        let at = self.0.iter().position(|snapshot| snapshot.is_of(sample))?;
        self.0.drain(at..).next().map(Box::new)
    }
}

/// What reading the rings came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records that were samples.
    pub samples: u64,
    /// Records that were not.
    pub malformed: u64,
}

impl Rings {
    pub(super) const fn new(
        outer: ArrayOfMaps<MapData, MapData>,
        bytes: u32,
        schedule: Option<Range<u64>>,
    ) -> Self {
        Self {
            outer,
            rings: BTreeMap::new(),
            bytes,
            schedule,
        }
    }

    /// Gives `cpu` a ring, if it has none. A CPU that goes offline keeps its ring: what is in it
    /// is still read, and it is there when the CPU comes back.
    ///
    /// # Errors
    /// The kernel refuses the ring; the CPU has none then, and may be tried again.
    pub fn add(&mut self, cpu: u32) -> Result<(), Refusal> {
        if self.rings.contains_key(&cpu) {
            return Ok(());
        }
        let definition =
            aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, self.bytes, 0);
        let ring = Attempt::CreateMap("sample_ring");
        let map = MapData::create(definition, "sample_ring", None)
            .map_err(|error| Refusal::of(ring, &error))?;
        self.outer
            .set(cpu, &map, 0)
            .map_err(|error| Refusal::of(Attempt::UseMap("RINGS"), &error))?;
        let reader =
            RingBuf::try_from(Map::RingBuf(map)).map_err(|error| Refusal::of(ring, &error))?;
        let ring = Ring {
            reader,
            snapshots: Snapshots::default(),
        };
        self.rings.insert(cpu, ring);
        Ok(())
    }

    /// Bytes of all rings.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.bytes) * self.rings.len() as u64
    }

    /// Descriptors that become readable when a ring fills up.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.values().map(|ring| ring.reader.as_fd())
    }

    /// Reads all rings until they are empty, at most `limit` records each.
    pub fn drain(&mut self, limit: usize, mut sample: impl FnMut(RawSample)) -> Drained {
        let mut drained = Drained::default();
        for ring in self.rings.values_mut() {
            for _ in 0..limit {
                let Some(record) = ring.reader.next() else {
                    break;
                };
                match decode::decode(&record) {
                    Ok(Record::Snapshot(snapshot)) => ring.snapshots.add(snapshot),
                    Ok(Record::Sample(mut decoded)) => {
                        drained.samples += 1;
                        decoded.snapshot = ring.snapshots.take(&decoded);
                        if let Some(schedule) = &self.schedule {
                            decode::drop_watchers(&mut decoded, schedule);
                        }
                        sample(decoded);
                    }
                    Err(_) => drained.malformed += 1,
                }
            }
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::layout::SampleFlags;
    use profiler_common::layout::snapshot::{GENERAL_REGISTERS, GoThread};
    use profiler_common::unwind::{Goroutine, Outcome};

    use super::*;
    use crate::profile::{BootTime, ProfileKind, StackBytes, ThreadName, VirtualAddress};

    fn snapshot(time: u64, start: u64) -> Box<StackSnapshot> {
        Box::new(StackSnapshot {
            time: BootTime(time),
            tid: 7,
            pc: 0,
            general: [0; GENERAL_REGISTERS],
            goroutine: Goroutine::default(),
            go: GoThread::default(),
            stacks: vec![StackBytes {
                start: VirtualAddress(start),
                bytes: vec![0; 8],
            }],
        })
    }

    fn sample(time: u64) -> RawSample {
        RawSample {
            time: BootTime(time),
            kind: ProfileKind::OffCpu,
            value: 0,
            runnable: 0,
            image: BootTime(0),
            cgroup: 0,
            pid: 7,
            tid: 7,
            cpu: 0,
            thread_name: ThreadName::default(),
            outcome: Outcome::Root,
            flags: SampleFlags(0),
            kernel: Vec::new(),
            user: Vec::new(),
            context: None,
            snapshot: None,
        }
    }

    #[test]
    fn a_sample_that_another_one_interrupted_keeps_its_stack() {
        let mut snapshots = Snapshots::default();
        snapshots.add(snapshot(1, 0x1000));
        snapshots.add(snapshot(2, 0x5000));
        snapshots.add(snapshot(1, 0x1008));
        let interrupting = snapshots.take(&sample(2)).expect("its stack");
        assert_eq!(interrupting.stack_bytes(), 8);
        let interrupted = snapshots.take(&sample(1)).expect("its stack");
        assert_eq!(interrupted.stack_bytes(), 16);
        assert_eq!(snapshots.take(&sample(1)), None);
    }

    #[test]
    fn stacks_whose_samples_never_come_are_few() {
        let mut snapshots = Snapshots::default();
        (0..100).for_each(|time| snapshots.add(snapshot(time, 0x1000)));
        assert_eq!(snapshots.0.len(), Snapshots::MOST);
        assert!(snapshots.take(&sample(99)).is_some());
    }
}
