//! Time off CPU: what it hangs on in the running kernel, found by trying.
//!
//! One program runs at each switch between threads and notes how long the new one was off CPU; another one takes its stack
//! once it runs (`profiler-ebpf/src/off_cpu/`). Where the second one can hang, where stays are kept, and how it is known for how long
//! a thread waited for a CPU differs between kernels.

mod resume;
mod storage;
mod symbols;

use std::ops::RangeInclusive;
use std::os::fd::AsFd as _;
use std::time::Duration;

use aya::maps::{Array, MapData};
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::{Btf, Ebpf};
use profiler_common::off_cpu::Drawing;

use super::CollectError;
use super::loader::take;
use super::program::{self, ProgramCost};
use super::way::Way;
use resume::Resume;
pub use resume::ResumeWay;
pub use storage::Storage;
pub(super) use storage::{MAX_THREADS, keeps_stays, without_task_storage};
pub(super) use symbols::Symbols;

/// How time off CPU is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OffCpu {
    /// Stays off CPU of at least this are all recorded; of shorter ones about one for as much time. At most
    /// [`MAX_THRESHOLD`](profiler_common::off_cpu::MAX_THRESHOLD), to which a longer one is cut.
    pub threshold: Duration,
    /// The probability that a record is kept, which counts for more then: from
    /// [`MIN_PROBABILITY`](profiler_common::off_cpu::MIN_PROBABILITY) to 1.
    pub probability: f64,
}

impl OffCpu {
    /// Thresholds that people may ask for: a shorter one records each switch between threads.
    pub const THRESHOLDS: RangeInclusive<Duration> =
        Duration::from_micros(10)..=Duration::from_secs(2);
    /// Probabilities that people may ask for.
    pub const PROBABILITIES: RangeInclusive<f64> = 0.0001..=1.0;
}

impl Default for OffCpu {
    fn default() -> Self {
        Self {
            threshold: Duration::from_millis(1),
            probability: 1.0,
        }
    }
}

impl OffCpu {
    /// What the programs draw by.
    pub(super) fn drawing(self) -> Drawing {
        let threshold = u64::try_from(self.threshold.as_nanos()).unwrap_or(u64::MAX);
        Drawing::new(threshold, self.probability)
    }
}

/// What is not left to be found by trying: for tests of what other kernels need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forced {
    /// Where stays are kept.
    pub storage: Option<Storage>,
    /// Does the kernel not keep for how long threads wait for a CPU?
    pub wakeups: bool,
}

/// How it is known for how long a thread waited for a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The kernel adds it up (`sched_info.run_delay`).
    RunDelay,
    /// From when it was woken.
    Wakeups,
}

impl Waiting {
    /// What the running kernel has. The field may be there and stay 0: where the kernel was built or started without what adds
    /// it up, it says so of this thread, too, which has run.
    pub(super) fn find(offset: u32, forced: Forced) -> Self {
        let runs = || {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
            text.split_whitespace().nth(2)?.parse::<u64>().ok()
        };
        if offset == 0 || forced.wakeups || runs().is_none_or(|runs| runs == 0) {
            Self::Wakeups
        } else {
            Self::RunDelay
        }
    }
}

/// The programs, loaded.
pub(super) struct OffCpuPrograms {
    resume: Resume,
    switch: &'static str,
    wakeup: Option<&'static str>,
    began: Array<MapData, u64>,
    attached: Option<Attached>,
}

struct Attached {
    wakeup: Option<BtfTracePointLinkId>,
    switch: BtfTracePointLinkId,
}

impl OffCpuPrograms {
    /// Loads the programs, and lets the one that takes stacks hang where it can. It has nothing to do until [`Self::start`].
    pub(super) fn load(
        programs: &mut Ebpf,
        btf: &Btf,
        way: Way,
        storage: Storage,
        waiting: Waiting,
        symbols: &Symbols,
    ) -> Result<(Self, Vec<ProgramCost>), CollectError> {
        let (resume, cost) = Resume::find(programs, btf, way, symbols)?;
        let mut costs = vec![cost];
        let (switch, wakeup) = match storage {
            Storage::Task => ("off_switch", "off_wakeup"),
            Storage::Hash => ("off_switch_hash", "off_wakeup_hash"),
        };
        let wakeup = (waiting == Waiting::Wakeups).then_some(wakeup);
        let tracepoints = [(Some(switch), "sched_switch"), (wakeup, "sched_wakeup")];
        for (name, tracepoint) in tracepoints {
            let Some(name) = name else { continue };
            let loaded = program::load(programs, name, |program| {
                <&mut BtfTracePoint>::try_from(program)?.load(tracepoint, btf)
            });
            costs.push(loaded.map_err(|error| lacking(tracepoint, error))?);
        }
        let programs = Self {
            resume,
            switch,
            wakeup,
            began: take(programs, "OFF_CPU_BEGAN")?,
            attached: None,
        };
        Ok((programs, costs))
    }

    /// What the program that takes stacks hangs on.
    pub(super) const fn resume_way(&self) -> ResumeWay {
        self.resume.way
    }

    /// Records from now on.
    pub(super) fn start(&mut self, programs: &mut Ebpf) -> Result<(), CollectError> {
        if self.attached.is_some() {
            return Ok(());
        }
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let failed = |source| CollectError::Map {
            map: "OFF_CPU_BEGAN",
            source,
        };
        self.began.set(0, now, 0).map_err(failed)?;
        let wakeup = self.wakeup.map(|name| attach(programs, name)).transpose()?;
        let switch = attach(programs, self.switch)?;
        self.attached = Some(Attached { wakeup, switch });
        Ok(())
    }

    /// Records no more.
    pub(super) fn stop(&mut self, programs: &mut Ebpf) {
        let Some(attached) = self.attached.take() else {
            return;
        };
        detach(programs, self.switch, attached.switch);
        if let Some((name, link)) = self.wakeup.zip(attached.wakeup) {
            detach(programs, name, link);
        }
    }

    /// Times that all of the programs ran, and nanoseconds that took.
    pub(super) fn cost(&self, programs: &Ebpf) -> Option<(u64, u64)> {
        let names = [Some(self.switch), self.wakeup, Some(self.resume.program)];
        let mut sums = (0, 0);
        for name in names.into_iter().flatten() {
            let program = programs.program(name)?;
            let (runs, nanoseconds) = program::run_statistics(program.fd().ok()?.as_fd())?;
            sums = (sums.0 + runs, sums.1 + nanoseconds);
        }
        Some(sums)
    }
}

/// `tracepoint` cannot be used, because of `error`.
fn lacking(tracepoint: &str, error: CollectError) -> CollectError {
    if error.is_privilege() {
        return error;
    }
    CollectError::OffCpu {
        missing: format!("its tracepoint {tracepoint} cannot be used ({error})"),
    }
}

fn tracepoint<'a>(
    programs: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut BtfTracePoint, CollectError> {
    let program = programs.program_mut(name);
    program
        .ok_or_else(|| program::no_such_program(name))?
        .try_into()
        .map_err(|error| program::refused(name, &error))
}

fn attach(programs: &mut Ebpf, name: &'static str) -> Result<BtfTracePointLinkId, CollectError> {
    let attached = tracepoint(programs, name)?.attach();
    attached.map_err(|error| program::refused(name, &error))
}

fn detach(programs: &mut Ebpf, name: &'static str, link: BtfTracePointLinkId) {
    if let Ok(program) = tracepoint(programs, name) {
        // It is attached: the link is one of its own.
        let _ = program.detach(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::off_cpu::MAX_THRESHOLD;

    #[test]
    fn a_threshold_that_is_too_long_is_cut() {
        let drawing = |threshold| {
            let off_cpu = OffCpu {
                threshold,
                ..OffCpu::default()
            };
            off_cpu.drawing().threshold
        };
        assert_eq!(drawing(Duration::from_millis(1)), 1_000_000);
        assert_eq!(drawing(Duration::ZERO), 0);
        assert_eq!(drawing(Duration::from_secs(60)), MAX_THRESHOLD);
        assert_eq!(drawing(Duration::MAX), MAX_THRESHOLD);
    }

    #[test]
    fn what_a_kernel_lacks_is_said_with_what_to_do() {
        let missing = CollectError::System {
            call: "BPF_RAW_TRACEPOINT_OPEN".to_owned(),
            source: std::io::Error::from_raw_os_error(libc::ENOENT),
        };
        assert_eq!(
            lacking("sched_switch", missing).to_string(),
            "this kernel cannot tell how long threads are off CPU: its tracepoint sched_switch cannot be used \
             (BPF_RAW_TRACEPOINT_OPEN: No such file or directory (os error 2)). Leave off-CPU profiling out."
        );
    }
}
