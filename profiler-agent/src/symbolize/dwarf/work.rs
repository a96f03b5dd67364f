//! How much of a stranger's debug information one batch may walk.

/// Counts down entries and rows. A function of millions of entries costs time, whoever wrote it.
#[derive(Debug)]
pub(super) struct Work {
    left: u64,
}

impl Work {
    /// This many entries and rows may be walked.
    pub(super) const fn new(limit: u64) -> Self {
        Self { left: limit }
    }

    /// May one more be walked?
    pub(super) const fn entry(&mut self) -> bool {
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
}
