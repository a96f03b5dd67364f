//! What the kernel side knows of the language runtimes of processes.

use profiler_common::layout::RuntimeEntry;
use profiler_common::layout::runtime::MAX_RUNTIMES;

use super::Publisher;
use super::maps::Maps;
use crate::profile::{BootTime, Degradation};

/// Entries in use from which on constants are not told. They lie elsewhere in every program, and in every process
/// of one that is placed at random: without them what is equal else shares an entry.
const WITH_CONSTANTS: usize = MAX_RUNTIMES / 2;

impl<M: Maps> Publisher<M> {
    /// Says what is known of the runtime of a published process's image. Nothing is written when the
    /// process has another image by now, or none. False when the kernel refused it: to be tried again.
    pub fn set_runtime(
        &mut self,
        pid: u32,
        image: BootTime,
        runtime: &RuntimeEntry,
        now: BootTime,
    ) -> bool {
        let Some(published) = self.published.get_mut(&pid) else {
            return true;
        };
        if published.image != image {
            return true;
        }
        let mut runtime = *runtime;
        if self.runtime_slots.taken() >= WITH_CONSTANTS {
            (runtime.go.constants, runtime.go.constants_bytes) = (0, 0);
        }
        let Some(slot) = self.runtime_slots.acquire(&runtime, now) else {
            self.losses.add(Degradation::RuntimeTableFull, 1);
            return true;
        };
        if slot.slot == published.runtime {
            self.runtime_slots.release(slot.slot, now);
            return true;
        }
        if slot.write
            && let Err(error) = self.maps.set_runtime(slot.slot, runtime)
        {
            self.runtime_slots.release(slot.slot, now);
            self.failed("RUNTIMES", &error);
            return false;
        }
        // The process holds its slot once, and the entry in the kernel another one while that is not the same.
        let in_kernel = published.written.runtime;
        let before = std::mem::replace(&mut published.runtime, slot.slot);
        if before != in_kernel {
            self.runtime_slots.release(before, now);
        }
        if slot.slot == in_kernel {
            self.runtime_slots.release(slot.slot, now);
        }
        self.rewrite(pid, now);
        true
    }
}
