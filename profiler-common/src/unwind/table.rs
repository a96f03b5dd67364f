//! The unwind table of one file, as words of 32 bits.
//!
//! A table covers the offsets `0 .. buckets << BUCKET_BITS` from the start of the file's text
//! range (a multiple of 64 KiB). Words `0 ..= buckets` are the index: word `b` is the position of
//! bucket `b`'s first row, word `buckets` the position behind the last row. The rows follow. A row is
//! `low << 16 | rule`: the low 16 bits of the offset from which on (within its 64 KiB page) the rule
//! holds, and the index of the rule in the shared array of rules. A bucket's first row starts
//! at the bucket's first offset, so that a bucket can be searched alone: at most
//! [`SEARCH_STEPS`] steps, most of them within a cache line or two.
//!
//! The kernel side holds the tables of single pages of 64 KiB, of [`PAGE_BUCKETS`] buckets each, and for each file a
//! directory of them: word `p` is the place of the table of page `p`, or [`PAGE_MISSING`] or [`PAGE_EMPTY`].
//!
//! The kernel holds the words in blocks of [`BLOCK_WORDS`]: one cache line each.

/// log2 of the bytes of text that a bucket covers.
pub const BUCKET_BITS: u32 = 10;
/// Bytes of text that a bucket covers.
pub const BUCKET_BYTES: u64 = 1 << BUCKET_BITS;
/// log2 of the bytes of text within which a row's `low` counts.
pub const PAGE_BITS: u32 = 16;
/// Buckets of a page.
pub const PAGE_BUCKETS: u32 = 1 << (PAGE_BITS - BUCKET_BITS);
/// In a directory: the page's table is not there (yet).
pub const PAGE_MISSING: u32 = u32::MAX;
/// In a directory: nothing is known of any code in the page.
pub const PAGE_EMPTY: u32 = u32::MAX - 1;
/// Halvings that find a row among the at most 1,024 of a bucket.
pub const SEARCH_STEPS: u32 = BUCKET_BITS + 1;
/// Words in a block.
pub const BLOCK_WORDS: usize = 16;
/// Most words of one table: 256 MiB would be more than any budget.
pub const MAX_WORDS: usize = 1 << 26;

/// The kernel's array element.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBlock(pub [u32; BLOCK_WORDS]);
const _: () = assert!(size_of::<TableBlock>() == 64);

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(pub u32);

impl Row {
    /// The row from `low` (offset within its page) on with `rule`.
    #[must_use]
    pub const fn new(low: u16, rule: u16) -> Self {
        Self((low as u32) << 16 | rule as u32)
    }
    /// Offset within the page from which the row holds.
    #[must_use]
    pub const fn low(self) -> u16 {
        (self.0 >> 16) as u16
    }
    /// Index of its rule.
    #[must_use]
    pub const fn rule(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

/// Access to a table's words.
pub trait Words {
    /// The word at `index`; `None` outside of the table.
    fn word(&self, index: u32) -> Option<u32>;
}

impl Words for [u32] {
    fn word(&self, index: u32) -> Option<u32> {
        self.get(index as usize).copied()
    }
}

/// The index of the rule for text offset `offset` in a table of `buckets` buckets; `None` when the
/// table is inconsistent or does not cover the offset.
#[inline(always)]
pub fn rule_index<W: Words + ?Sized>(words: &W, buckets: u32, offset: u64) -> Option<u16> {
    let bucket = offset >> BUCKET_BITS;
    if bucket >= buckets as u64 {
        return None;
    }
    let bucket = bucket as u32;
    let mut low = words.word(bucket)?;
    let mut high = words.word(bucket + 1)?;
    let wanted = (offset & 0xffff) as u16;
    if low >= high {
        return None;
    }
    // Invariant: the row at `low` holds from an offset <= wanted, the one at `high` does not.
    let mut step = 0;
    while step < SEARCH_STEPS {
        if high - low <= 1 {
            break;
        }
        let middle = low + (high - low) / 2;
        if Row(words.word(middle)?).low() <= wanted {
            low = middle;
        } else {
            high = middle;
        }
        step += 1;
    }
    Some(Row(words.word(low)?).rule())
}
