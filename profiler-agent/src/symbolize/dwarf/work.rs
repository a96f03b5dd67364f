//! How much of a stranger's debug information one batch may walk, and how much of it is resident
//! meanwhile.

use crate::symbolize::elf::mapped::let_go;

/// Entries and rows after which what was walked leaves the resident set: a megabyte or two of them.
const LET_GO_EVERY: u64 = 1 << 15;

/// Files that are walked over. Their pages would count as the agent's own until the walk is over: of a file
/// with hundreds of megabytes of debug information, all of them.
#[derive(Debug)]
pub(super) struct Walked<'files> {
    files: &'files [&'files [u8]],
    steps: u64,
}

impl<'files> Walked<'files> {
    /// A walk over these files.
    pub(super) const fn new(files: &'files [&'files [u8]]) -> Self {
        Self { files, steps: 0 }
    }

    /// Counts entries and rows that were walked over.
    pub(super) fn pass(&mut self, steps: u64) {
        self.steps = self.steps.saturating_add(steps);
        if self.steps >= LET_GO_EVERY {
            self.let_go();
        }
    }

    /// Lets everything go that is resident.
    pub(super) fn let_go(&mut self) {
        self.steps = 0;
        for file in self.files {
            let_go(file.as_ptr(), file.len());
        }
    }
}

/// Counts down entries and rows. A function of millions of entries costs time, whoever wrote it.
#[derive(Debug)]
pub(super) struct Work<'files> {
    left: u64,
    walked: Walked<'files>,
}

impl<'files> Work<'files> {
    /// This many entries and rows of these files may be walked.
    pub(super) const fn new(limit: u64, files: &'files [&'files [u8]]) -> Self {
        Self {
            left: limit,
            walked: Walked::new(files),
        }
    }

    /// May one more be walked?
    pub(super) fn entry(&mut self) -> bool {
        self.walked.pass(1);
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    /// Takes `count` of what may be walked.
    pub(super) const fn spend(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
    }

    /// Was the limit reached?
    pub(super) const fn exhausted(&self) -> bool {
        self.left == 0
    }

    /// Lets everything go that is resident.
    pub(super) fn let_go(&mut self) {
        self.walked.let_go();
    }
}
