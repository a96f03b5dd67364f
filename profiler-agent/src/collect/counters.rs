//! The kernel side's counters, read.

use aya::maps::{MapData, PerCpuArray};
use profiler_common::layout::Counter;
use profiler_common::layout::counter::COUNTERS;

use super::CollectError;
use super::error::{Attempt, Refusal};
use crate::profile::{Degradation, Losses, SampleLoss};

/// Totals since the programs were loaded.
pub type Totals = [u64; COUNTERS];

/// Reads the per-CPU counters.
pub struct Counters {
    map: PerCpuArray<MapData, Totals>,
    last: Totals,
    trouble: Option<String>,
}

impl Counters {
    pub(super) const fn new(map: PerCpuArray<MapData, Totals>) -> Self {
        Self {
            map,
            last: [0; COUNTERS],
            trouble: None,
        }
    }

    /// Totals of all CPUs.
    pub fn totals(&self) -> Result<Totals, CollectError> {
        let mut totals = [0; COUNTERS];
        // Programs that may interrupt each other count in elements of their own.
        for purpose in 0..self.map.len() {
            let values = self.map.get(&purpose, 0);
            let values = values.map_err(|source| CollectError::Map {
                map: "COUNTS",
                source,
            })?;
            for cpu in values.iter() {
                for (total, count) in totals.iter_mut().zip(cpu) {
                    *total += count;
                }
            }
        }
        Ok(totals)
    }

    /// What was lost since the last call. Counters that cannot be read are counted, and what they say is in the next
    /// losses.
    pub fn new_losses(&mut self) -> Losses {
        let mut losses = Losses::default();
        let now = match self.totals() {
            Ok(now) => now,
            Err(error) => {
                losses.add(Degradation::MapFailed, 1);
                self.trouble = Some(Refusal::of(Attempt::UseMap("COUNTS"), &error).to_string());
                return losses;
            }
        };
        self.trouble = None;
        let new = |counter: Counter| {
            let index = counter as usize;
            now[index].saturating_sub(self.last[index])
        };
        for (counter, cause) in [
            (Counter::RingFull, SampleLoss::RingFull),
            (Counter::RingMissing, SampleLoss::RingMissing),
            (Counter::ScratchMissing, SampleLoss::ScratchMissing),
            (Counter::OffCpuRingFull, SampleLoss::OffCpuRingFull),
            (Counter::OffCpuMissed, SampleLoss::OffCpuMissed),
        ] {
            losses.add(cause, new(counter));
        }
        for (counter, cause) in [
            (Counter::OffCpuUntracked, Degradation::OffCpuUntracked),
            (Counter::ProcessTableFull, Degradation::ProcessTableFull),
            (Counter::SelectionFull, Degradation::SelectionFull),
        ] {
            losses.add(cause, new(counter));
        }
        self.last = now;
        losses
    }

    /// Why they could not be read the last time, if they could not.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}
