//! Per-CPU counters: no atomics needed.

use profiler_common::layout::Counter;

use crate::maps::COUNTS;

/// Adds one to `counter`.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(counts) = COUNTS.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's element; the index is a constant below its length.
        unsafe { (*counts)[counter as usize] += 1 };
    }
}
