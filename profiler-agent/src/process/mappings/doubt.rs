//! Times of which it is not known what was mapped: records of it were lost, or the process was being read.

use crate::profile::BootTime;

/// Times that are kept apart; the oldest two become one beyond.
const MAX_DOUBTS: usize = 8;

/// Changes between `from` and `lost` may not have been told; what was there at `sure` is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubt {
    from: BootTime,
    lost: BootTime,
    sure: BootTime,
}

/// Ordered by time; bounded.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubts(Vec<Doubt>);

impl Doubts {
    /// Changes between `from` and `lost` may not have been told, and nobody has looked since.
    pub(super) fn begin(&mut self, from: BootTime, lost: BootTime) {
        let sure = BootTime(u64::MAX);
        match self.0.last_mut().filter(|doubt| doubt.sure == sure) {
            Some(open) => {
                open.from = open.from.min(from);
                open.lost = open.lost.max(lost);
            }
            None => self.push(Doubt { from, lost, sure }),
        }
    }

    /// Somebody looked, between `at` and `done`.
    pub(super) fn settle(&mut self, at: BootTime, done: BootTime) {
        for doubt in &mut self.0 {
            doubt.sure = doubt.sure.min(done);
        }
        if at < done {
            self.push(Doubt {
                from: at,
                lost: done,
                sure: done,
            });
        }
    }

    /// May what is known to be mapped since `since` have been something else at `time`?
    pub(super) fn cover(&self, since: BootTime, time: BootTime) -> bool {
        self.0
            .iter()
            .any(|doubt| since <= doubt.lost && doubt.from < time && time < doubt.sure)
    }

    /// Does what is mapped since `since` need an event at `time` to be known?
    pub(super) fn are_open(&self, since: BootTime, time: BootTime) -> bool {
        self.0.last().is_some_and(|doubt| {
            doubt.sure == BootTime(u64::MAX) && since <= doubt.lost && doubt.lost < time
        })
    }

    /// Forgets what was over before `time`.
    pub(super) fn prune(&mut self, time: BootTime) {
        self.0.retain(|doubt| doubt.sure >= time);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn push(&mut self, doubt: Doubt) {
        self.0.push(doubt);
        if self.0.len() > MAX_DOUBTS {
            let oldest = self.0.remove(0);
            let next = &mut self.0[0];
            next.from = next.from.min(oldest.from);
            next.lost = next.lost.max(oldest.lost);
            next.sure = next.sure.max(oldest.sure);
        }
    }
}
