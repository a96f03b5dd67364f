//! What a sample stands for.

/// What is profiled: time on CPUs, time off them, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProfileKind {
    /// Time that threads ran on a CPU.
    #[default]
    OnCpu,
    /// Time that threads did not: they waited for something, or for a CPU.
    OffCpu,
    /// All time that threads existed: both together.
    Wall,
}
