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

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::CollectError;
use super::cpus::{NotOpened, PerCpu, Reason};
use super::error::{Attempt, Refusal};
use crate::profile::{BootTime, Degradation, Losses, ProcessEvent, ProcessEventKind};
use open::MappingRecords;
use ring::{Records, Ring, Taken};

/// Data pages of each CPU's ring: 128 KiB with 4 KiB pages, below the default limit of locked
/// memory (`kernel.perf_event_mlock_kb`), and room for about a thousand mappings.
const DATA_BYTES: usize = 128 << 10;

/// The side-band of the whole machine.
#[derive(Debug)]
pub struct Sideband {
    rings: PerCpu<Ring>,
    records: MappingRecords,
    bytes: Vec<u8>,
    held: Vec<ProcessEvent>,
    /// Everything up to this time was read, but for what was lost.
    drained: BootTime,
    losses: Losses,
}

impl Sideband {
    /// Opens the side-band of `cpus` (the online ones).
    ///
    /// # Errors
    /// When none of them can be opened. Those that could not are in [`Sideband::troubles`].
    pub fn open(cpus: &BTreeSet<u32>) -> Result<Self, CollectError> {
        Self::open_with(cpus, MappingRecords::BuildId)
    }

    /// Like [`Sideband::open`], and asks for no more than `records`: as on a kernel that has no more.
    ///
    /// # Errors
    /// As [`Sideband::open`].
    pub fn open_with(cpus: &BTreeSet<u32>, records: MappingRecords) -> Result<Self, CollectError> {
        let mut sideband = Self {
            rings: PerCpu::default(),
            records,
            bytes: Vec::new(),
            held: Vec::new(),
            drained: now(),
            losses: Losses::default(),
        };
        let mut refused = None;
        sideband.follow_cpus(cpus, Instant::now(), false, &mut refused);
        if !sideband.rings.events().is_empty() {
            return Ok(sideband);
        }
        let refused = refused.unwrap_or_else(|| {
            let first = cpus.first().copied().unwrap_or(0);
            let offline = io::Error::from_raw_os_error(libc::ENODEV);
            Refusal::of(Attempt::OpenSideband(first), &offline)
        });
        Err(refused.into())
    }

    /// Follows what happens on the CPUs that are `online` from now on, and lets go of the others; what their rings still
    /// hold is kept for the next drain. A CPU that comes anew, or comes back, may have done something in the
    /// meantime: an event says that records were lost. `stood_still`: the agent did not run for a while.
    pub fn follow(&mut self, online: &BTreeSet<u32>, now: Instant, stood_still: bool) {
        let opened = self.follow_cpus(online, now, stood_still, &mut None);
        if opened > 0 {
            self.held.push(ProcessEvent {
                time: self::now(),
                kind: ProcessEventKind::Lost {
                    records: 0,
                    since: self.drained,
                },
            });
        }
    }

    /// Number of CPUs whose side-band was opened; why the last one was not is left in `refused`.
    fn follow_cpus(
        &mut self,
        online: &BTreeSet<u32>,
        now: Instant,
        stood_still: bool,
        refused: &mut Option<Refusal>,
    ) -> usize {
        let records = &mut self.records;
        let mut open = |cpu, _: Reason| {
            open_ring(cpu, records).map_err(|(attempt, error)| {
                if error.raw_os_error() == Some(libc::ENODEV) {
                    return NotOpened::NoCpu;
                }
                let refusal = Refusal::of(attempt, &error);
                let trouble = refusal.reason();
                *refused = Some(refusal);
                NotOpened::Trouble(trouble)
            })
        };
        let followed = self.rings.follow(online, now, stood_still, &mut open);
        for (_, mut ring) in followed.ended {
            let held = &mut self.held;
            read(
                &mut ring,
                self.drained..self::now(),
                &mut self.bytes,
                held,
                &mut self.losses,
            );
        }
        self.losses
            .add(Degradation::SidebandMissing, followed.failures);
        followed.opened.len()
    }

    /// Is there a CPU whose processes are not followed?
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.troubles().next().is_some()
    }

    /// CPUs that are online and whose side-band cannot be opened, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (u32, &str)> {
        self.rings.troubles()
    }

    /// What mapping records say on this kernel.
    #[must_use]
    pub const fn records(&self) -> MappingRecords {
        self.records
    }

    /// The descriptors to wait on, with their CPUs: readable when a record came in.
    pub fn fds(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let rings = self.rings.events().iter();
        rings.map(|(cpu, ring)| (*cpu, ring.as_fd()))
    }

    /// Appends to `events`, in order of time, everything that happened up to the time returned.
    pub fn drain(&mut self, events: &mut Vec<ProcessEvent>) -> BootTime {
        let until = now();
        for ring in self.rings.events_mut() {
            let held = &mut self.held;
            read(
                ring,
                self.drained..until,
                &mut self.bytes,
                held,
                &mut self.losses,
            );
        }
        self.drained = until;
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

/// The ring of a CPU; or what was tried last, and why it failed.
fn open_ring(
    cpu: u32,
    records: &mut MappingRecords,
) -> Result<Ring, (Attempt<'static>, io::Error)> {
    let event = open::open(cpu, records).map_err(|error| (Attempt::OpenSideband(cpu), error))?;
    let pages = (DATA_BYTES / rustix::param::page_size()).max(1);
    Ring::new(event, pages).map_err(|error| (Attempt::MapSideband(cpu), error))
}

/// Appends the events of `ring`, which was read up to `drained.start` and is read up to its end now, to `held`; `bytes` is
/// scratch space.
fn read(
    ring: &mut Ring,
    drained: Range<BootTime>,
    bytes: &mut Vec<u8>,
    held: &mut Vec<ProcessEvent>,
    losses: &mut Losses,
) {
    bytes.clear();
    let taken = ring.take(bytes);
    let last = events_of(bytes, drained.start, held, losses);
    match taken {
        Taken::All => {}
        Taken::UpToRoom => held.push(ProcessEvent {
            time: drained.end.max(last),
            kind: ProcessEventKind::Lost {
                records: 0,
                since: last,
            },
        }),
        Taken::Nonsense => losses.add(Degradation::SidebandMalformed, 1),
    }
}

/// Appends the events in `bytes`, which came out of one ring behind `drained`; the time of the last one.
fn events_of(
    bytes: &[u8],
    drained: BootTime,
    held: &mut Vec<ProcessEvent>,
    losses: &mut Losses,
) -> BootTime {
    let mut last = drained;
    for record in Records::new(bytes) {
        match record.map(decode::decode) {
            Ok(Ok(Some(mut event))) => {
                if let ProcessEventKind::Lost { records, since } = &mut event.kind {
                    losses.add(Degradation::SidebandLost, *records);
                    *since = last.min(event.time);
                }
                last = event.time;
                held.push(event);
            }
            Ok(Ok(None)) => {}
            Ok(Err(_)) | Err(_) => losses.add(Degradation::SidebandMalformed, 1),
        }
    }
    last
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
