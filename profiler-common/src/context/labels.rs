//! Labels of a goroutine (`runtime/pprof/label.go`, `runtime/map.go`).
//!
//! From Go 1.24 on `g.labels` points to a slice of key and value, up to 1.23 to a map: a header
//! (count at 0, flags at 8, the logarithm of the number of buckets at 9, buckets at 16, buckets of
//! before a growth at 24), buckets of eight keys and values, and chains of overflow buckets.
//! A map stays in the middle of a growth for as long as it is not written to: what was not moved yet
//! is in its old bucket, what was moved is marked there.

use super::Bytes;
use crate::layout::GoRuntime;
use crate::layout::context::{MAX_KEY, MAX_LABELS, MAX_VALUE};

/// Buckets of a map that are read, overflow buckets included.
const MAX_BUCKETS: u64 = 32;
/// Slots of a bucket.
const SLOTS: u64 = 8;
/// A bucket: a byte of hash for each slot, keys, values, the overflow bucket.
const BUCKET_WORDS: u64 = 1 + 2 * SLOTS + 2 * SLOTS + 1;
/// Hash bytes below this mark slots that are empty or were moved.
const FIRST_HASH: u64 = 5;
/// Flag of a map's header: the growth keeps the number of buckets.
const SAME_SIZE: u64 = 8;
/// A label in a slice: two strings, each pointer and length.
const LABEL_WORDS: u64 = 4;
/// Words that are read at once: the longest slice, more than a bucket.
const CHUNK_WORDS: usize = MAX_LABELS * LABEL_WORDS as usize;
const _: () = assert!(BUCKET_WORDS as usize <= CHUNK_WORDS);

/// Calls of [`LabelWalk::next`] after which every walk is over.
pub const MAX_STEPS: u32 = (MAX_BUCKETS * (SLOTS + 1)) as u32 + 4;

/// A string in the memory of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it begins.
    pub address: u64,
    /// Bytes of it that are kept.
    pub length: u64,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A label.
    Label {
        /// Its key, at most [`MAX_KEY`] bytes.
        key: Text,
        /// Its value, at most [`MAX_VALUE`] bytes.
        value: Text,
        /// Was one of them longer?
        cut: bool,
    },
    /// None yet.
    Nothing,
    /// There are no more.
    End,
}

/// A walk over the labels of a goroutine. All of it is in map memory: the verifier knows nothing of
/// it, so that one step is like the next.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct LabelWalk {
    /// Labels that are still to be found.
    remaining: u64,
    /// Next slot of the chunk, and number of its slots.
    slot: u64,
    slots: u64,
    /// Is the chunk a bucket?
    map: u64,
    /// Buckets of the array that is walked, the next of them, and their number.
    buckets: u64,
    bucket: u64,
    bucket_count: u64,
    /// The array from before the growth, and its number of buckets; 0 where there is none.
    old_buckets: u64,
    old_count: u64,
    /// The next bucket of the chain; 0 at its end.
    overflow: u64,
    /// Buckets that may still be read.
    reads: u64,
    /// Where the program's read-only data are, and bytes of them.
    constants: u64,
    constants_bytes: u64,
    /// 1: there are more labels than were found, or some could not be read.
    incomplete: u64,
    /// The slice, or a bucket.
    chunk: [u64; CHUNK_WORDS],
}

impl Default for LabelWalk {
    fn default() -> Self {
        Self {
            remaining: 0,
            slot: 0,
            slots: 0,
            map: 0,
            buckets: 0,
            bucket: 0,
            bucket_count: 0,
            old_buckets: 0,
            old_count: 0,
            overflow: 0,
            reads: 0,
            constants: 0,
            constants_bytes: 0,
            incomplete: 0,
            chunk: [0; CHUNK_WORDS],
        }
    }
}

impl LabelWalk {
    /// Begins a walk over the labels of the goroutine at `goroutine`. Are there any?
    #[inline(always)]
    pub fn begin<M: Bytes>(&mut self, go: &GoRuntime, goroutine: u64, memory: &mut M) -> bool {
        self.remaining = 0;
        self.incomplete = 0;
        self.slot = 0;
        self.slots = 0;
        self.constants = go.constants;
        self.constants_bytes = go.constants_bytes;
        if go.g_labels == 0 {
            return false;
        }
        let field = goroutine.wrapping_add(go.g_labels as u64);
        let Some(labels) = memory.read_word(field) else {
            self.incomplete = 1;
            return false;
        };
        if labels == 0 {
            return false;
        }
        let readable = if go.labels == GoRuntime::LABELS_SLICE {
            self.begin_slice(labels, memory)
        } else if go.labels == GoRuntime::LABELS_MAP {
            self.begin_map(labels, memory)
        } else {
            true
        };
        if !readable {
            self.remaining = 0;
            self.incomplete = 1;
        }
        self.remaining != 0
    }

    #[inline(always)]
    fn begin_slice<M: Bytes>(&mut self, labels: u64, memory: &mut M) -> bool {
        if !memory.read_bytes(labels, 16, &mut self.chunk) {
            return false;
        }
        let array = self.chunk[0];
        let count = self.limit(self.chunk[1]);
        self.map = 0;
        self.slots = count;
        memory.read_bytes(array, 8 * LABEL_WORDS * count, &mut self.chunk)
    }

    #[inline(always)]
    fn begin_map<M: Bytes>(&mut self, labels: u64, memory: &mut M) -> bool {
        let Some(header) = memory.read_word(labels) else {
            return false;
        };
        // A nil map.
        if header == 0 {
            return true;
        }
        if !memory.read_bytes(header, 32, &mut self.chunk) {
            return false;
        }
        let (count, second) = (self.chunk[0], self.chunk[1]);
        let (same_size, logarithm) = (second & SAME_SIZE != 0, (second >> 8) & 0xff);
        self.limit(count);
        self.map = 1;
        self.buckets = self.chunk[2];
        self.bucket = 0;
        self.bucket_count = power(logarithm);
        self.old_buckets = self.chunk[3];
        self.old_count = if same_size || logarithm == 0 {
            self.bucket_count
        } else {
            power(logarithm - 1)
        };
        self.overflow = 0;
        self.reads = MAX_BUCKETS;
        true
    }

    /// Takes the number of labels as the program says it.
    #[inline(always)]
    fn limit(&mut self, count: u64) -> u64 {
        let limited = if count > MAX_LABELS as u64 {
            self.incomplete = 1;
            MAX_LABELS as u64
        } else {
            count
        };
        self.remaining = limited;
        limited
    }

    /// The next step: [`Found::End`] within [`MAX_STEPS`].
    #[inline(always)]
    pub fn next<M: Bytes>(&mut self, memory: &mut M) -> Found {
        if self.remaining == 0 {
            return Found::End;
        }
        let slot = self.slot;
        if slot >= self.slots {
            return self.next_bucket(memory);
        }
        self.slot = slot + 1;
        let (key, value) = if self.map != 0 {
            if (self.chunk[0] >> (8 * (slot % SLOTS))) & 0xff < FIRST_HASH {
                return Found::Nothing;
            }
            (1 + 2 * slot, 1 + 2 * SLOTS + 2 * slot)
        } else {
            (LABEL_WORDS * slot, LABEL_WORDS * slot + 2)
        };
        self.remaining -= 1;
        let (Some(key), Some(value)) = (self.text(key), self.text(value)) else {
            self.incomplete = 1;
            return Found::Nothing;
        };
        let (kept_key, kept_value) = (
            key.length.min(MAX_KEY as u64),
            value.length.min(MAX_VALUE as u64),
        );
        Found::Label {
            key: Text {
                address: key.address,
                length: kept_key,
            },
            value: Text {
                address: value.address,
                length: kept_value,
            },
            cut: kept_key < key.length || kept_value < value.length,
        }
    }

    /// Does a text lie in the program's read-only data, and is short enough to be remembered
    /// ([`Constants`](super::constants::Constants))?
    #[inline(always)]
    pub fn is_constant(&self, text: Text) -> bool {
        let offset = text.address.wrapping_sub(self.constants);
        text.length <= MAX_KEY as u64
            && offset < self.constants_bytes
            && text.length <= self.constants_bytes - offset
    }

    /// Has every label been found? The next step would be [`Found::End`].
    #[inline(always)]
    pub fn is_over(&self) -> bool {
        self.remaining == 0
    }

    /// A label that was found could not be read.
    #[inline(always)]
    pub fn unreadable(&mut self) {
        self.incomplete = 1;
    }

    /// Are there more labels than were found, or some that could not be read?
    #[inline(always)]
    pub fn is_incomplete(&self) -> bool {
        self.incomplete != 0
    }

    /// The string at this word of the chunk; `None` for a length that no string has.
    #[inline(always)]
    fn text(&self, word: u64) -> Option<Text> {
        const MASK: usize = CHUNK_WORDS - 1;
        let address = self.chunk[word as usize & MASK];
        let length = self.chunk[(word + 1) as usize & MASK];
        if length as i64 >= 0 {
            Some(Text { address, length })
        } else {
            None
        }
    }

    #[inline(always)]
    fn next_bucket<M: Bytes>(&mut self, memory: &mut M) -> Found {
        let address = if self.map == 0 || self.reads == 0 {
            0
        } else if self.overflow != 0 {
            self.overflow
        } else {
            if self.bucket >= self.bucket_count {
                self.buckets = self.old_buckets;
                self.bucket_count = self.old_count;
                self.bucket = 0;
                self.old_buckets = 0;
            }
            if self.buckets == 0 {
                0
            } else {
                let place = 8 * BUCKET_WORDS * self.bucket;
                self.bucket += 1;
                self.buckets.wrapping_add(place)
            }
        };
        if address == 0 {
            // Not all were found that there are to be.
            self.incomplete = 1;
            return Found::End;
        }
        self.reads -= 1;
        self.overflow = 0;
        if memory.read_bytes(address, 8 * BUCKET_WORDS, &mut self.chunk) {
            self.slot = 0;
            self.slots = SLOTS;
            self.overflow = self.chunk[BUCKET_WORDS as usize - 1];
        } else {
            self.slots = 0;
            self.incomplete = 1;
        }
        Found::Nothing
    }
}

/// Two to the power of `logarithm`, as far as it makes a difference.
#[inline(always)]
fn power(logarithm: u64) -> u64 {
    if logarithm > 16 {
        1 << 16
    } else {
        1 << logarithm
    }
}

const _: () = assert!(CHUNK_WORDS.is_power_of_two());
