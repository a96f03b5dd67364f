//! Bounds on reading processes that events did not tell of.

use std::time::Duration;

use hashbrown::HashMap;

use crate::profile::BootTime;

/// Processes that are read on demand in a second.
pub(super) const READS_PER_SECOND: u32 = 200;

/// So many reads a second, and none of a pid that was missing a moment ago.
#[derive(Debug, Default)]
pub(super) struct Reads {
    second: u64,
    count: u32,
    missing: HashMap<u32, BootTime>,
}

impl Reads {
    const MISSING: Duration = Duration::from_secs(1);

    /// May this process be read now?
    pub(super) fn allow(&mut self, pid: u32, time: BootTime) -> bool {
        let second = time.0 / 1_000_000_000;
        if second > self.second {
            (self.second, self.count) = (second, 0);
        }
        if self.count >= READS_PER_SECOND
            || self
                .missing
                .get(&pid)
                .is_some_and(|since| time.since(*since) < Self::MISSING)
        {
            return false;
        }
        self.count += 1;
        true
    }

    /// Notes that there is no such process.
    pub(super) fn note_missing(&mut self, pid: u32, time: BootTime) {
        self.missing.insert(pid, time);
    }

    pub(super) fn prune(&mut self, now: BootTime) {
        self.missing
            .retain(|_, since| now.since(*since) < Self::MISSING);
    }
}
