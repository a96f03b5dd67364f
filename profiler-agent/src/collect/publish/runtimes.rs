//! What the kernel side knows of the language runtimes of processes.

use profiler_common::layout::RuntimeEntry;
use profiler_common::layout::runtime::MAX_RUNTIMES;

use super::{PlainRuntime, Publisher, map_error};
use crate::collect::CollectError;
use crate::profile::{BootTime, LossCause};

/// Entries in use from which on constants are not told. They lie elsewhere in every program, and in every process
/// of one that is placed at random: without them what is equal else shares an entry.
const WITH_CONSTANTS: usize = MAX_RUNTIMES / 2;

impl Publisher {
    /// Says what is known of the runtime of a published process's image. Nothing is written when the
    /// process has another image by now, or none.
    ///
    /// # Errors
    /// The kernel refuses a map update.
    pub fn set_runtime(
        &mut self,
        pid: u32,
        image: BootTime,
        runtime: &RuntimeEntry,
        now: BootTime,
    ) -> Result<(), CollectError> {
        let Some(published) = self.published.get_mut(&pid) else {
            return Ok(());
        };
        if published.image != image {
            return Ok(());
        }
        let mut runtime = *runtime;
        if self.runtime_slots.taken() >= WITH_CONSTANTS {
            (runtime.go.constants, runtime.go.constants_bytes) = (0, 0);
        }
        let Some(slot) = self.runtime_slots.acquire(&runtime, now) else {
            self.losses.add(LossCause::RuntimeTableFull, 1);
            return Ok(());
        };
        if slot.slot == published.runtime {
            self.runtime_slots.release(slot.slot, now);
            return Ok(());
        }
        if slot.write {
            self.runtimes
                .set(slot.slot, PlainRuntime(runtime), 0)
                .map_err(|source| map_error("RUNTIMES", source))?;
        }
        let before = std::mem::replace(&mut published.runtime, slot.slot);
        self.runtime_slots.release(before, now);
        self.rewrite(pid, now)
    }
}
