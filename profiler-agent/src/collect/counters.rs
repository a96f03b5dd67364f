//! The kernel side's counters, read.

use aya::maps::{MapData, PerCpuArray};
use profiler_common::layout::Counter;
use profiler_common::layout::counter::COUNTERS;

use super::CollectError;
use crate::profile::{LossCause, Losses};

/// Totals since the programs were loaded.
pub type Totals = [u64; COUNTERS];

/// Reads the per-CPU counters.
pub struct Counters {
    map: PerCpuArray<MapData, Totals>,
    last: Totals,
}

impl Counters {
    pub(super) const fn new(map: PerCpuArray<MapData, Totals>) -> Self {
        Self {
            map,
            last: [0; COUNTERS],
        }
    }

    /// Totals of all CPUs.
    pub fn totals(&self) -> Result<Totals, CollectError> {
        let values = self.map.get(&0, 0).map_err(|source| CollectError::Map {
            map: "COUNTS",
            source,
        })?;
        let mut totals = [0; COUNTERS];
        for cpu in values.iter() {
            for (total, count) in totals.iter_mut().zip(cpu) {
                *total += count;
            }
        }
        Ok(totals)
    }

    /// What was lost since the last call.
    pub fn new_losses(&mut self) -> Result<Losses, CollectError> {
        let now = self.totals()?;
        let mut losses = Losses::default();
        for (counter, cause) in [
            (Counter::RingFull, LossCause::RingFull),
            (Counter::RingMissing, LossCause::RingMissing),
            (Counter::ScratchMissing, LossCause::ScratchMissing),
            (Counter::ProcessTableFull, LossCause::ProcessTableFull),
            (Counter::SelectionFull, LossCause::SelectionFull),
        ] {
            let index = counter as usize;
            losses.add(cause, now[index].saturating_sub(self.last[index]));
        }
        self.last = now;
        Ok(losses)
    }
}
