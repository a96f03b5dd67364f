//! What a sample is taken for. The programs of both purposes may be at work on a CPU at the same time: the interrupt that takes an
//! on-CPU sample does not wait for an off-CPU sample to be done. So each purpose has its own elements of the maps per CPU.

use profiler_common::layout::{Counter, Snapshot};

use crate::maps::{COUNTS, SCRATCH, SNAPSHOT};
use crate::sample::Scratch;

/// A purpose: the index of its elements in `SCRATCH`, `SNAPSHOT` and `COUNTS`. Functions that the verifier looks at alone take it
/// as a number.
#[derive(Clone, Copy)]
pub struct Purpose(pub u32);

/// How many there are.
pub const PURPOSES: usize = 2;

impl Purpose {
    /// On-CPU samples, and what is not of a sample.
    pub const ON_CPU: Self = Self(0);
    /// Time off CPU.
    pub const OFF_CPU: Self = Self(1);

    /// Where its sample is put together.
    #[inline(always)]
    pub fn scratch(self) -> Option<*mut Scratch> {
        SCRATCH.get_ptr_mut(self.0)
    }

    /// Where the top of its stack is copied to.
    #[inline(always)]
    pub fn snapshot(self) -> Option<*mut Snapshot> {
        SNAPSHOT.get_ptr_mut(self.0)
    }

    /// Adds one to `counter`: no atomics needed.
    #[inline(always)]
    pub fn count(self, counter: Counter) {
        if let Some(counts) = COUNTS.get_ptr_mut(self.0) {
            // SAFETY: the pointer is to this CPU's element, which programs that interrupt this one do not write to; the index is a
            // constant below its length.
            unsafe { (*counts)[counter as usize] += 1 };
        }
    }
}
