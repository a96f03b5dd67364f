//! What reading one file for names may cost.
//!
//! Counts in a file are its owner's: a few megabytes can announce billions of items. So every loop over
//! items of a file takes its steps from a budget, and everything that stays in memory is charged before
//! it is kept. Steps count what is looked at (entries, attributes, instructions, ranges, bytes of long
//! strings), whatever the file says of their number. The budget reads no clock: its owner passes in
//! whether time is over, which is asked every [`POLL_EVERY`] steps.

/// Steps between two questions whether time is over: some tens of microseconds.
const POLL_EVERY: u64 = 1 << 12;

/// Steps, bytes and time that are left. What is empty stays empty.
pub(super) struct Budget<'time> {
    steps: u64,
    bytes: usize,
    unpolled: u64,
    expired: &'time dyn Fn() -> bool,
    cut: bool,
    left_out: bool,
}

impl<'time> Budget<'time> {
    /// So many steps and kept bytes, until `expired` says that time is over.
    pub(super) const fn new(steps: u64, bytes: usize, expired: &'time dyn Fn() -> bool) -> Self {
        Self {
            steps,
            bytes,
            unpolled: 0,
            expired,
            cut: false,
            left_out: false,
        }
    }

    /// Takes steps. May the walk go on?
    pub(super) fn step(&mut self, count: u64) -> bool {
        self.steps = self.steps.saturating_sub(count);
        self.unpolled = self.unpolled.saturating_add(count);
        if self.unpolled >= POLL_EVERY {
            self.unpolled = 0;
            self.cut |= (self.expired)();
        }
        self.cut |= self.steps == 0;
        !self.cut
    }

    /// Takes bytes that stay in memory. May they be kept?
    pub(super) const fn keep(&mut self, bytes: usize) -> bool {
        match self.bytes.checked_sub(bytes) {
            Some(left) => self.bytes = left,
            None => self.cut = true,
        }
        !self.cut
    }

    /// Gives back bytes that are not kept any more.
    pub(super) const fn release(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Notes that one item is larger than any is, and is left out; others are still read.
    pub(super) const fn leave_out(&mut self) {
        self.left_out = true;
    }

    /// Was anything left out?
    pub(super) const fn is_partial(&self) -> bool {
        self.cut || self.left_out
    }

    /// Is the budget empty?
    pub(super) const fn is_cut(&self) -> bool {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_empty_budget_stays_empty() {
        let never = || false;
        let mut budget = Budget::new(10, 100, &never);
        assert!(budget.step(9));
        assert!(!budget.step(1));
        budget.release(100);
        assert!(!budget.step(0) && budget.is_cut());

        let mut budget = Budget::new(10, 100, &never);
        assert!(budget.keep(100));
        budget.release(60);
        assert!(budget.keep(60) && !budget.is_cut());
        assert!(!budget.keep(1));
        assert!(!budget.step(1) && budget.is_cut());
    }

    #[test]
    fn time_is_asked_for_once_in_many_steps_and_ends_the_walk() {
        let asked = Cell::new(0);
        let expired = || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        };
        let mut budget = Budget::new(u64::MAX, 0, &expired);
        let walked = (0..100 * POLL_EVERY).take_while(|_| budget.step(1)).count() as u64;
        assert_eq!(walked, 3 * POLL_EVERY - 1);
        assert_eq!(asked.get(), 3);
        assert!(budget.is_cut());
    }
}
