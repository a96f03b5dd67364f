//! The kernel side at work on this process, and threads that measure themselves.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use profiler_agent::collect::off_cpu::{Forced, Storage};
use profiler_agent::collect::{Kernel, LoadOptions, OffCpu, Selection, Way};
use profiler_agent::profile::{ProfileKind, RawSample, SamplePeriod};
use profiler_common::layout::Counter;

pub const THRESHOLD: Duration = Duration::from_millis(1);
/// In nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;

/// Held by each test: the threads of another one would fill the rings, which are of the whole process.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel side at work on this process.
pub struct Recorder {
    pub kernel: Kernel,
    samples: Vec<RawSample>,
}

/// The first way to walk stacks that this kernel takes, and the one that every kernel takes.
pub const WAYS: [Option<Way>; 2] = [None, Some(Way::Bounded)];

/// Every way in which the kernel side may keep stays and know of waiting on this machine.
pub const FORCED: [Forced; 3] = [
    Forced {
        storage: None,
        wakeups: false,
    },
    Forced {
        storage: Some(Storage::Hash),
        wakeups: false,
    },
    Forced {
        storage: None,
        wakeups: true,
    },
];

impl Recorder {
    pub fn start() -> Self {
        Self::start_with(OffCpu::default(), None, Forced::default())
    }

    pub fn start_with(off_cpu: OffCpu, way: Option<Way>, forced: Forced) -> Self {
        let options = LoadOptions {
            period: SamplePeriod::from_hertz(99),
            selection: Selection::Processes { children: true },
            table_budget: 8 << 20,
            way,
            off_cpu: Some(off_cpu),
        };
        let object = std::env::var_os("PROFILER_EBPF_OBJECT");
        let object = object.map(|path| std::fs::read(path).unwrap());
        let (mut kernel, costs) = Kernel::load_forced(object.as_deref(), &options, forced).unwrap();
        for cost in costs {
            println!("{}: {:?}", cost.name, cost.verified_instructions);
        }
        assert!(kernel.off_cpu().is_some());
        kernel.select(std::process::id()).unwrap();
        kernel.follow_cpus().unwrap();
        kernel.start_off_cpu().unwrap();
        Self {
            kernel,
            samples: Vec::new(),
        }
    }

    pub fn read(&mut self) {
        let samples = &mut self.samples;
        let drained = self.kernel.rings.drain(usize::MAX, |sample| {
            if sample.kind == ProfileKind::OffCpu {
                samples.push(sample);
            }
        });
        assert_eq!(drained.malformed, 0);
    }

    /// Samples of time off CPU, once all are read; nothing was lost.
    pub fn stop(mut self) -> Vec<RawSample> {
        self.kernel.stop_off_cpu();
        self.kernel.sampler.stop();
        self.read();
        let totals = self.kernel.counters.totals().unwrap();
        for lost in [
            Counter::OffCpuRingFull,
            Counter::OffCpuMissed,
            Counter::OffCpuUntracked,
            Counter::RingMissing,
            Counter::ScratchMissing,
        ] {
            assert_eq!(totals[lost as usize], 0, "{lost:?}");
        }
        self.samples
    }
}

pub fn boot_now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub fn cpu_now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// What a thread measured of itself.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    pub tid: u32,
    /// When it looked at the clock first, in nanoseconds.
    begin: u64,
    /// Nanoseconds from then to when it looked again.
    pub wall: u64,
    /// Nanoseconds of them on a CPU.
    pub cpu: u64,
}

impl Truth {
    /// Nanoseconds off CPU, as the kernel accounts for them: it begins to charge a thread some microseconds before it switches
    /// to it, and does not charge it for what a hypervisor takes from it.
    pub fn off(&self) -> u64 {
        self.wall.saturating_sub(self.cpu)
    }

    /// Its own samples among these, of what it measured: before and after it may have waited for others.
    pub fn own<'a>(
        &self,
        samples: &'a [RawSample],
    ) -> impl Iterator<Item = &'a RawSample> + use<'a> {
        let (tid, time) = (self.tid, self.begin..=self.begin + self.wall);
        let is_own = move |sample: &&RawSample| sample.tid == tid && time.contains(&sample.time.0);
        samples.iter().filter(is_own)
    }

    /// Nanoseconds of values and of their runnable parts.
    pub fn sums(&self, samples: &[RawSample]) -> (u64, u64) {
        let add = |sums: (u64, u64), sample: &RawSample| {
            (sums.0 + sample.value, sums.1 + sample.runnable)
        };
        self.own(samples).fold((0, 0), add)
    }

    /// Are these samples what the thread measured, within a fiftieth and the threshold? They are no more than all of its time,
    /// and no less than it certainly waited.
    pub fn holds(&self, samples: &[RawSample], least: Duration) {
        let (value, runnable) = self.sums(samples);
        let least = least.as_nanos() as u64;
        let threshold = THRESHOLD.as_nanos() as u64;
        assert!(
            least - least / 50 <= value + threshold && value <= self.wall + threshold,
            "{value} ns of which {runnable} waiting, not {least} or more of {self:?}"
        );
    }
}

/// Does something and measures it.
pub fn measure(work: impl FnOnce()) -> Truth {
    let (begin, cpu) = (boot_now(), cpu_now());
    work();
    let (cpu, wall) = (cpu_now() - cpu, boot_now() - begin);
    Truth {
        tid: tid(),
        begin,
        wall,
        cpu,
    }
}

/// Does something in a thread of its own, which begins once the recorder runs.
pub fn on_thread(work: impl FnOnce() + Send + 'static) -> JoinHandle<Truth> {
    std::thread::spawn(move || measure(work))
}

#[inline(never)]
pub fn nap(time: Duration) {
    std::thread::sleep(time);
    std::hint::black_box(());
}
