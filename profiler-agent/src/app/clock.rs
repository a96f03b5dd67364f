//! Reads the clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::profile::{BootTime, ClockPair, UnixTime};

/// The boot clock now.
#[must_use]
pub fn boot_now() -> BootTime {
    BootTime(nanoseconds(clock_gettime(ClockId::Boottime)))
}

/// Both clocks now. Read anew for every window: the wall clock may have been set.
#[must_use]
pub fn pair() -> ClockPair {
    ClockPair {
        boot: boot_now(),
        unix: UnixTime(nanoseconds(clock_gettime(ClockId::Realtime))),
    }
}

/// CPU time that this process used so far.
#[must_use]
pub fn own_cpu() -> std::time::Duration {
    std::time::Duration::from_nanos(nanoseconds(clock_gettime(ClockId::ProcessCPUTime)))
}

const fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
