//! Side-band records: what happens to processes, told by the kernel as it happens.
//!
//! One dummy perf event per CPU reports every fork, exec, rename, exit and executable mapping of the
//! whole machine, with the boot clock's time and (where the kernel can) the build id of what was
//! mapped. The records of one CPU are in order; [`Sideband::drain`] merges the CPUs by time.
//!
//! Merging: the clock is read before any ring is, and events later than that reading are held back
//! for the next drain. So an event on a CPU whose ring was read early (a fork) is never delivered
//! after a later event on a CPU whose ring was read late (the child's exec). What is held back came
//! in during the drain, so its descriptor is readable: the next `poll` returns at once.
//!
//! Every record wakes the reader. A wake-up costs more than the records that it brings, so whoever
//! waits should let a few milliseconds pass between two drains: the fork, exec and mappings of a
//! new process then come together.

pub mod decode;
pub mod open;
pub mod ring;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::profile::{BootTime, LossCause, Losses, ProcessEvent, ProcessEventKind};
use open::MappingRecords;
use ring::{Records, Ring};

/// Data pages of each CPU's ring: 128 KiB with 4 KiB pages, below the default limit of locked
/// memory (`kernel.perf_event_mlock_kb`), and room for about a thousand mappings.
const DATA_BYTES: usize = 128 << 10;

/// Why the side-band is not there.
#[derive(Debug, thiserror::Error)]
pub enum SidebandError {
    /// The perf event of a CPU could not be opened.
    #[error("cannot open the process side-band of CPU {cpu} (perf_event_open): {source}")]
    Open {
        /// Logical number of the CPU.
        cpu: u32,
        /// The system call's error.
        source: io::Error,
    },
    /// The ring of a CPU could not be mapped.
    #[error("cannot map the process side-band of CPU {cpu}: {source}")]
    Map {
        /// Logical number of the CPU.
        cpu: u32,
        /// The system call's error.
        source: io::Error,
    },
}

/// The side-band of the whole machine.
#[derive(Debug)]
pub struct Sideband {
    rings: BTreeMap<u32, Ring>,
    records: MappingRecords,
    bytes: Vec<u8>,
    held: Vec<ProcessEvent>,
    losses: Losses,
}

impl Sideband {
    /// Opens the side-band of `cpus` (the online ones).
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(cpus: &[u32]) -> Result<Self, SidebandError> {
        let mut sideband = Self {
            rings: BTreeMap::new(),
            records: MappingRecords::BuildId,
            bytes: Vec::new(),
            held: Vec::new(),
            losses: Losses::default(),
        };
        for cpu in cpus {
            sideband.add_cpu(*cpu)?;
        }
        Ok(sideband)
    }

    /// Adds a CPU that came online; nothing changes when it is there already.
    ///
    /// # Errors
    /// When its side-band cannot be opened.
    pub fn add_cpu(&mut self, cpu: u32) -> Result<(), SidebandError> {
        if self.rings.contains_key(&cpu) {
            return Ok(());
        }
        let event = open::open(cpu, &mut self.records)
            .map_err(|source| SidebandError::Open { cpu, source })?;
        let pages = (DATA_BYTES / rustix::param::page_size()).max(1);
        let ring = Ring::new(event, pages).map_err(|source| SidebandError::Map { cpu, source })?;
        self.rings.insert(cpu, ring);
        Ok(())
    }

    /// Drops a CPU that went offline; what its ring still holds is kept for the next drain.
    pub fn remove_cpu(&mut self, cpu: u32) {
        if let Some(mut ring) = self.rings.remove(&cpu) {
            read(&mut ring, &mut self.bytes, &mut self.held, &mut self.losses);
        }
    }

    /// What mapping records say on this kernel.
    #[must_use]
    pub const fn records(&self) -> MappingRecords {
        self.records
    }

    /// The descriptors to wait on, with their CPUs: readable when a record came in.
    pub fn fds(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.rings.iter().map(|(cpu, ring)| (*cpu, ring.as_fd()))
    }

    /// Appends to `events`, in order of time, everything that happened up to the time returned.
    pub fn drain(&mut self, events: &mut Vec<ProcessEvent>) -> BootTime {
        let until = now();
        for ring in self.rings.values_mut() {
            read(ring, &mut self.bytes, &mut self.held, &mut self.losses);
        }
        self.held.sort_by_key(|event| event.time);
        let due = self.held.partition_point(|event| event.time <= until);
        events.extend(self.held.drain(..due));
        until
    }

    /// Is there an event that was held back for the next drain?
    #[must_use]
    pub const fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Records that were dropped by the kernel or malformed since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

/// Appends the events of `ring` to `held`; `bytes` is scratch space.
fn read(ring: &mut Ring, bytes: &mut Vec<u8>, held: &mut Vec<ProcessEvent>, losses: &mut Losses) {
    bytes.clear();
    if !ring.take(bytes) {
        losses.add(LossCause::SidebandMalformed, 1);
    }
    for record in Records::new(bytes) {
        match record.map(decode::decode) {
            Ok(Ok(Some(event))) => {
                if let ProcessEventKind::Lost { records } = event.kind {
                    losses.add(LossCause::SidebandLost, records);
                }
                held.push(event);
            }
            Ok(Ok(None)) => {}
            Ok(Err(_)) | Err(_) => losses.add(LossCause::SidebandMalformed, 1),
        }
    }
}

fn now() -> BootTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    BootTime(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// What holds of any bytes that claim to come out of a ring; checked by tests and by fuzzing.
///
/// # Panics
/// When it does not hold.
#[doc(hidden)]
pub fn check_hostile(bytes: &[u8]) {
    let mut total = 0;
    for record in Records::new(bytes).flatten() {
        total += record.len();
        if let Ok(Some(event)) = decode::decode(record)
            && let ProcessEventKind::Map { range, path, .. } = event.kind
        {
            assert!(range.start < range.end);
            assert!(path.len() <= record.len().min(decode::MAX_PATH_BYTES));
            assert!(!path.contains(&0));
        }
    }
    assert!(total <= bytes.len());
}

#[cfg(test)]
mod tests;
