//! Processes whose mappings were not read in time. They are read again, less and less often: what did not answer may do so
//! later, and an agent that is given hardly any CPU time is late by itself.

use std::ops::Range;
use std::time::Duration;

use hashbrown::HashMap;

use crate::profile::BootTime;

/// Time to the second attempt; each further one doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest time between two attempts.
const LAST: Duration = Duration::from_secs(60);
/// Processes that are read again in one go.
const AT_ONCE: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unread(HashMap<u32, Retry>);

#[derive(Debug)]
struct Retry {
    next: BootTime,
    wait: Duration,
    /// Between when records of what it mapped were lost since its mappings were read.
    lost: Option<Range<BootTime>>,
}

impl Unread {
    /// Notes that the mappings of a process were not read at `now`, after records were lost.
    pub(super) fn note(&mut self, pid: u32, lost: Option<Range<BootTime>>, now: BootTime) {
        let retry = self.0.entry(pid).or_insert(Retry {
            next: now,
            wait: FIRST,
            lost: None,
        });
        retry.next = now.plus(retry.wait);
        retry.wait = (retry.wait * 2).min(LAST);
        retry.lost = both(retry.lost.take(), lost);
    }

    /// Notes that they were read, or that there is no such process; between when records of them were lost, with `lost`.
    pub(super) fn end(
        &mut self,
        pid: u32,
        lost: Option<Range<BootTime>>,
    ) -> Option<Range<BootTime>> {
        match self.0.remove(&pid) {
            Some(retry) => both(retry.lost, lost),
            None => lost,
        }
    }

    /// Some processes whose next attempt is due, the one that has waited longest first.
    pub(super) fn due(&self, now: BootTime) -> Vec<u32> {
        let due = self.0.iter().filter(|(_, retry)| retry.next <= now);
        let mut due: Vec<(BootTime, u32)> = due.map(|(pid, retry)| (retry.next, *pid)).collect();
        due.sort_unstable();
        due.truncate(AT_ONCE);
        due.into_iter().map(|(_, pid)| pid).collect()
    }
}

/// From the beginning of the one to the end of the other.
fn both(one: Option<Range<BootTime>>, other: Option<Range<BootTime>>) -> Option<Range<BootTime>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.start.min(other.start)..one.end.max(other.end)),
        (one, other) => one.or(other),
    }
}
