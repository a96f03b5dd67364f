//! The rings: one per CPU.

use std::collections::BTreeMap;
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
}

struct Ring {
    reader: RingBuf<MapData>,
    /// What the next sample is the other part of.
    snapshot: Option<Box<StackSnapshot>>,
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
    pub(super) const fn new(outer: ArrayOfMaps<MapData, MapData>, bytes: u32) -> Self {
        Self {
            outer,
            rings: BTreeMap::new(),
            bytes,
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
            snapshot: None,
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
                    Ok(Record::Snapshot(snapshot)) => {
                        let another = match &mut ring.snapshot {
                            Some(begun) => begun.append(snapshot),
                            None => Some(snapshot),
                        };
                        if another.is_some() {
                            ring.snapshot = another;
                        }
                    }
                    Ok(Record::Sample(mut decoded)) => {
                        drained.samples += 1;
                        decoded.snapshot = ring
                            .snapshot
                            .take()
                            .filter(|snapshot| snapshot.is_of(&decoded));
                        sample(decoded);
                    }
                    Err(_) => drained.malformed += 1,
                }
            }
        }
        drained
    }
}
