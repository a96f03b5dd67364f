//! Rules in ascending order of address to the words of a table
//! (`profiler_common::unwind::table`).

use profiler_common::unwind::table::{BUCKET_BITS, BUCKET_BYTES, MAX_WORDS, Row};

use super::absent::{Absent, TooLarge};

/// Writes index and rows in one pass.
#[derive(Debug)]
pub(super) struct Writer {
    words: Vec<u32>,
    buckets: u32,
    /// Buckets whose first row is written.
    opened: u32,
    /// The rule that the rows written so far end with.
    rule: u16,
    /// The change that comes next: held back, because another one at the same offset replaces it.
    pending: (u64, u16),
}

impl Writer {
    /// A writer of a table for `span` bytes of code, none of which has a rule (index 0).
    pub(super) fn new(span: u64) -> Result<Self, Absent> {
        let buckets = span.div_ceil(BUCKET_BYTES);
        // The index and one row for each bucket.
        if buckets >= MAX_WORDS as u64 / 2 {
            return Err(Absent::TooLarge(TooLarge::Span));
        }
        Ok(Self {
            words: vec![0; buckets as usize + 1],
            buckets: buckets as u32,
            opened: 0,
            rule: 0,
            pending: (0, 0),
        })
    }

    /// From `offset` on `rule` holds. Offsets do not descend; one behind the end is ignored.
    pub(super) fn switch(&mut self, offset: u64, rule: u16) -> Result<(), Absent> {
        debug_assert!(offset >= self.pending.0, "offsets descend");
        if offset != self.pending.0 {
            self.flush()?;
        }
        self.pending = (offset, rule);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Absent> {
        let (offset, rule) = self.pending;
        let bucket = offset >> BUCKET_BITS;
        if rule == self.rule || bucket >= u64::from(self.buckets) {
            return Ok(());
        }
        let bucket = bucket as u32;
        self.open_until(bucket);
        let low = (offset & 0xffff) as u16;
        if self.opened == bucket {
            if offset % BUCKET_BYTES != 0 {
                self.open(self.rule);
                self.words.push(Row::new(low, rule).0);
            } else {
                self.open(rule);
            }
        } else {
            self.words.push(Row::new(low, rule).0);
        }
        self.rule = rule;
        if self.words.len() > MAX_WORDS {
            return Err(Absent::TooLarge(TooLarge::Table));
        }
        Ok(())
    }

    fn open_until(&mut self, bucket: u32) {
        while self.opened < bucket {
            self.open(self.rule);
        }
    }

    /// Writes the next bucket's first row.
    fn open(&mut self, rule: u16) {
        self.words[self.opened as usize] = self.words.len() as u32;
        let low = (u64::from(self.opened) << BUCKET_BITS & 0xffff) as u16;
        self.words.push(Row::new(low, rule).0);
        self.opened += 1;
    }

    /// Number of buckets and the words.
    pub(super) fn finish(mut self) -> Result<(u32, Vec<u32>), Absent> {
        self.flush()?;
        self.open_until(self.buckets);
        if self.words.len() > MAX_WORDS {
            return Err(Absent::TooLarge(TooLarge::Table));
        }
        self.words[self.buckets as usize] = self.words.len() as u32;
        self.words.shrink_to_fit();
        Ok((self.buckets, self.words))
    }
}
