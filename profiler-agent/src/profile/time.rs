//! Clocks and periods, each with its reference point in its type.

use std::time::Duration;

/// Nanoseconds of `CLOCK_BOOTTIME`: the clock of samples and side-band records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

/// Nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl BootTime {
    /// Time since `earlier`; zero when it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
    /// `duration` later.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_nanos() as u64))
    }
}

impl UnixTime {
    /// Time since `earlier`; zero when it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks read at one moment: converts one into the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPair {
    /// The boot clock's reading.
    pub boot: BootTime,
    /// The wall clock's reading at that moment.
    pub unix: UnixTime,
}

impl ClockPair {
    /// The wall-clock time of a boot-clock time.
    #[must_use]
    pub const fn unix(&self, time: BootTime) -> UnixTime {
        UnixTime(if time.0 >= self.boot.0 {
            self.unix.0.saturating_add(time.0 - self.boot.0)
        } else {
            self.unix.0.saturating_sub(self.boot.0 - time.0)
        })
    }
}

/// The CPU time that one sample stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SamplePeriod {
    nanoseconds: u64,
}

impl SamplePeriod {
    /// The period of `hertz` samples a second (at least 1).
    #[must_use]
    pub const fn from_hertz(hertz: u32) -> Self {
        let hertz = if hertz == 0 { 1 } else { hertz };
        Self {
            nanoseconds: 1_000_000_000 / hertz as u64,
        }
    }
    /// The period of this many nanoseconds (at least 1).
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self {
            nanoseconds: if nanoseconds == 0 { 1 } else { nanoseconds },
        }
    }
    /// The period in nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.nanoseconds
    }
}
