//! A walk over debug information: what it may cost, and how much of the files is resident meanwhile.

use crate::elf::mapped::let_go;
use crate::symbolize::budget::Budget;

/// Steps after which what was walked leaves the resident set: a megabyte or two of entries.
const LET_GO_EVERY: u64 = 1 << 15;
/// Bytes of one item that cost a step.
const BYTES_A_STEP: usize = 64;

/// A walk over files. Their pages would count as the agent's own until the walk is over: of a file with
/// hundreds of megabytes of debug information, all of them.
pub(super) struct Work<'files, 'budget, 'time> {
    files: &'files [&'files [u8]],
    walked: u64,
    budget: &'budget mut Budget<'time>,
}

impl<'files, 'budget, 'time> Work<'files, 'budget, 'time> {
    /// A walk over these files.
    pub(super) const fn new(
        files: &'files [&'files [u8]],
        budget: &'budget mut Budget<'time>,
    ) -> Self {
        Self {
            files,
            walked: 0,
            budget,
        }
    }

    /// A walk over other files, of the same budget.
    pub(super) const fn over<'others>(
        &mut self,
        files: &'others [&'others [u8]],
    ) -> Work<'others, '_, 'time> {
        Work::new(files, self.budget)
    }

    /// Takes steps. May the walk go on?
    pub(super) fn step(&mut self, count: usize) -> bool {
        self.walked = self.walked.saturating_add(count as u64);
        if self.walked >= LET_GO_EVERY {
            self.let_go();
        }
        self.budget.step(count as u64)
    }

    /// Notes that pages became resident which so many steps do not count.
    pub(super) fn touch(&mut self, steps: u64) {
        self.walked = self.walked.saturating_add(steps);
    }

    /// Takes what reading so many bytes in one go costs: a string, an attribute.
    pub(super) fn bytes(&mut self, count: usize) -> bool {
        self.step(count / BYTES_A_STEP)
    }

    /// Takes bytes that stay in memory. May they be kept?
    pub(super) const fn keep(&mut self, bytes: usize) -> bool {
        self.budget.keep(bytes)
    }

    /// Gives back bytes that are not kept any more.
    pub(super) const fn release(&mut self, bytes: usize) {
        self.budget.release(bytes);
    }

    /// Notes that one item is larger than any is, and is left out; others are still read.
    pub(super) const fn leave_out(&mut self) {
        self.budget.leave_out();
    }

    /// Is the budget empty?
    pub(super) const fn is_cut(&self) -> bool {
        self.budget.is_cut()
    }

    /// Lets everything go that is resident.
    pub(super) fn let_go(&mut self) {
        self.walked = 0;
        for file in self.files {
            let_go(file.as_ptr(), file.len());
        }
    }
}
