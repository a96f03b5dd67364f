//! What the samples of a profile measure.

use super::SamplePeriod;

/// The label of samples off a CPU that says why the thread did not run: [`STATE_BLOCKED`] or [`STATE_RUNNABLE`].
pub const THREAD_STATE: &str = "thread.state";
/// It waited for something.
pub const STATE_BLOCKED: &str = "blocked";
/// It waited for a CPU.
pub const STATE_RUNNABLE: &str = "runnable";

/// What is measured of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProfileKind {
    /// Time on a CPU.
    #[default]
    OnCpu,
    /// Time that a thread did not run: it was blocked, or waited for a CPU.
    OffCpu,
    /// Both together.
    Wall,
}

impl ProfileKind {
    /// Every kind, in order of declaration.
    pub const ALL: [Self; 3] = [Self::OnCpu, Self::OffCpu, Self::Wall];

    /// The type of the values, as pprof and OTLP name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnCpu => "cpu",
            Self::OffCpu => "off_cpu",
            Self::Wall => "wall",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The unit of the values, as pprof and OTLP name it.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::OnCpu | Self::OffCpu | Self::Wall => "nanoseconds",
        }
    }

    /// The values in words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::OnCpu => "CPU time",
            Self::OffCpu => "off-CPU time",
            Self::Wall => "wall-clock time",
        }
    }

    /// Do samples of `part` belong to profiles of this kind?
    #[must_use]
    pub const fn includes(self, part: Self) -> bool {
        matches!(
            (self, part),
            (Self::OnCpu, Self::OnCpu)
                | (Self::OffCpu, Self::OffCpu)
                | (Self::Wall, Self::OnCpu | Self::OffCpu | Self::Wall)
        )
    }

    /// What values of this kind are told apart by where profiles of `part` are the first that are added up: CPU time counts in
    /// periods, what has time off CPU in it in nanoseconds.
    #[must_use]
    pub const fn quantum_by(self, part: SampleKind) -> u64 {
        match self {
            Self::OnCpu => part.quantum(),
            Self::OffCpu | Self::Wall => 1,
        }
    }
}

/// The number of samples of `quantum` that a time comes to, to the nearest. Times are added up before they are made samples: a
/// sample of one rate is no whole number of another's.
#[must_use]
pub const fn samples_of(time: u64, quantum: u64) -> u64 {
    time.saturating_add(quantum / 2) / quantum
}

/// What the samples of a profile measure, and how often they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleKind {
    /// Type and unit of the values.
    pub kind: ProfileKind,
    /// Where samples are taken periodically, what lies between two of them; none where events make them.
    pub period: Option<SamplePeriod>,
}

impl SampleKind {
    /// Samples of blocked and waiting threads: one when a thread runs again.
    pub const OFF_CPU: Self = Self::by_events(ProfileKind::OffCpu);

    /// Samples of running threads, one each `period` of CPU time.
    #[must_use]
    pub const fn on_cpu(period: SamplePeriod) -> Self {
        Self {
            kind: ProfileKind::OnCpu,
            period: Some(period),
        }
    }

    /// Samples that events make.
    #[must_use]
    pub const fn by_events(kind: ProfileKind) -> Self {
        Self { kind, period: None }
    }

    /// The least that values are told apart by, in the unit of the kind: a period, where there is one.
    #[must_use]
    pub const fn quantum(self) -> u64 {
        match self.period {
            Some(period) => period.nanoseconds(),
            None => 1,
        }
    }

    /// What samples of both together measure. The period is the first one's.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.kind == other.kind {
            Self {
                period: self.period.or(other.period),
                ..self
            }
        } else {
            Self::by_events(ProfileKind::Wall)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ProfileKind, SampleKind};
    use crate::profile::SamplePeriod;

    #[test]
    fn names_lead_back_to_their_kinds() {
        for kind in ProfileKind::ALL {
            assert_eq!(ProfileKind::from_name(kind.name()), Some(kind));
            assert!(ProfileKind::Wall.includes(kind));
        }
        assert_eq!(ProfileKind::from_name("heap"), None);
    }

    #[test]
    fn two_kinds_of_time_are_wall_clock_time() {
        let cpu = |hertz| SampleKind::on_cpu(SamplePeriod::from_hertz(hertz));
        assert_eq!(cpu(99).and(cpu(19)), cpu(99));
        assert_eq!(cpu(99).and(SampleKind::OFF_CPU).kind, ProfileKind::Wall);
        assert_eq!(SampleKind::OFF_CPU.quantum(), 1);
        assert_eq!(cpu(100).quantum(), 10_000_000);
    }
}
