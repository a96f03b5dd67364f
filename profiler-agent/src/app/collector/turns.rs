//! What the collector thread does.
//!
//! It waits for side-band records, filled rings, built tables and the next turn. A turn (a few a
//! second) reads the rings; a sample is located once the side-band has been read up to its time, so
//! the mappings that it is looked up in are those that were valid then. A window whose time is
//! over is closed and handed on; the thread never waits for the stages behind it.
//!
//! Nothing that fails after the start ends it: what failed is counted, said in [`troubles`](crate::app::troubles), and tried again.

mod attributes;
mod closing;
mod deferred;
mod held;
mod second;
mod start;
mod unlabelled;
mod windows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use profiler_common::layout::SampleFlags;

use self::deferred::Deferred;
use self::held::Held;
use self::unlabelled::Unlabelled;
use self::windows::{Windows, count_of};
use crate::app::clock::boot_now;
use crate::app::collector::gauges::CollectorGauges;
use crate::app::collector::sink::WindowSink;
use crate::app::demand::Demand;
use crate::app::economy::Shortage;
use crate::app::memory_limit::MemoryLimit;
use crate::app::wake::{Waiter, Wake};
use crate::collect::Kernel;
use crate::collect::cpus::CpuFollower;
use crate::collect::sideband::Sideband;
use crate::correlate::Correlator;
use crate::enrich::Enricher;
use crate::inspect::{Constants, ProcessLooks, Runtimes};
use crate::process::{self, KernelCodeTable, ProcFs, ProcessTable};
use crate::profile::{
    BootTime, Degradation, LocatedSample, Losses, ProcessEvent, ProcessEventKind, SampleLoss,
};

/// Time between two readings of the rings.
const TURN: Duration = Duration::from_millis(200);
/// Time between two readings of the rings while tables of sampled processes are missing.
const FIRST_TURNS: Duration = Duration::from_millis(25);
/// Time between two readings of the side-band: a new process maps its libraries within it.
const BREATH: Duration = Duration::from_micros(300);
/// The same while the machine starts many processes: a wake-up costs more than what it brings.
const DEEP_BREATH: Duration = Duration::from_millis(2);
/// Readings in a second from which on the machine starts many.
const MANY_BREATHS: u32 = 500;
/// Records that are read of one ring at a time.
const RECORDS_AT_ONCE: usize = 20_000;
const SECOND: Duration = Duration::from_secs(1);
/// What is done every second comes later than this when the agent was stopped, or the machine slept.
const STOOD_STILL: Duration = Duration::from_secs(2);
/// Time between two scans of all processes while the side-band of a CPU is missing.
const SCANS: Duration = Duration::from_secs(5);

/// The thread's state.
pub(super) struct Running {
    kernel: Kernel,
    sideband: Sideband,
    cpus: CpuFollower,
    processes: ProcessTable<ProcFs>,
    kernel_code: KernelCodeTable,
    demand: Demand,
    runtimes: Runtimes,
    looks: ProcessLooks,
    enricher: Enricher,
    constants: Constants,
    correlator: Correlator,
    windows: Windows,
    sink: WindowSink,
    waiter: Waiter,
    wake: Wake,
    gauges: Arc<CollectorGauges>,
    window: Duration,
    window_end: BootTime,
    next_turn: BootTime,
    next_second: BootTime,
    /// Readings of the side-band in this second.
    breaths: u32,
    /// Earliest time of another scan of all processes.
    next_scan: BootTime,
    /// Up to when the side-band has been read.
    known_until: BootTime,
    events: Vec<ProcessEvent>,
    /// Samples that are not located yet.
    held: Held,
    /// Samples whose unwind tables are not there.
    deferred: Deferred,
    /// Samples whose labels are still being read.
    unlabelled: Unlabelled,
    /// How long these and those may hold up the end of a window.
    patience: Duration,
    losses: Losses,
    /// The limit of memory, if there is one.
    memory: Option<MemoryLimit>,
    shortage: Shortage,
    /// Why time off CPU is not sampled, where it was asked for.
    without_off_cpu: Option<String>,
    /// Why the thread cannot wait for all that it should, if it cannot.
    waiting: Option<String>,
    everything: bool,
    /// The random number of this run.
    run: u64,
}

impl Running {
    /// Runs until `stop`, then reads what is left and closes the last window.
    pub(super) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let until_turn = self.next_turn.since(boot_now());
            let woken = self.wait(until_turn);
            self.wake.clear();
            self.load_tables();
            self.take_constants();
            self.take_variables();
            self.take_attributes();
            if woken.sideband || self.sideband.holds() {
                self.read_sideband();
                // What follows at once is read together.
                std::thread::sleep(self.breath());
            }
            let now = boot_now();
            if now >= self.next_turn || woken.ring {
                self.turn(now);
            }
        }
        self.finish();
    }

    /// Loads the tables that were built, and tells of the runtimes that were found with them.
    fn load_tables(&mut self) {
        let now = boot_now();
        let loaded = self.demand.load(&mut self.kernel.publisher, now);
        for (executable, facts) in self.demand.take_facts() {
            let is_interpreter = facts.variables.interpreter.is_some();
            let told = if self.runtimes.learn(executable, facts) {
                self.kernel.publisher.users_of(executable)
            } else if is_interpreter {
                // Where a library's variables are is found by what the dynamic linker noted.
                self.runtimes.looking()
            } else {
                continue;
            };
            for pid in told {
                self.publish_runtime(pid, now);
            }
        }
        if loaded && !self.deferred.is_empty() {
            self.resume();
        }
    }

    const fn breath(&mut self) -> Duration {
        self.breaths += 1;
        if self.breaths > MANY_BREATHS {
            DEEP_BREATH
        } else {
            BREATH
        }
    }

    /// Reads the side-band and tells the kernel side what changed.
    fn read_sideband(&mut self) {
        self.known_until = self.sideband.drain(&mut self.events);
        for event in &self.events {
            self.processes.apply(event);
            self.kernel_code.apply(event);
        }
        let now = boot_now();
        if self.processes.scan_wanted() && now >= self.next_scan {
            self.next_scan = now.plus(SECOND);
            self.processes.scan(now);
        } else if self.sideband.is_incomplete() && now >= self.next_scan.plus(SCANS) {
            self.next_scan = now;
            self.processes.scan(now);
        }
        for pid in self.processes.take_changed() {
            self.publish(pid);
        }
        // A process that maps code now is about to run it.
        for event in &self.events {
            if let ProcessEventKind::Map { pid, .. } = event.kind
                && (self.everything || self.kernel.is_selected(pid))
            {
                self.demand
                    .want(self.processes.mappings(pid), &self.kernel.publisher);
            }
        }
        self.events.clear();
    }

    /// Has the kernel list the code that it has made. Where it does not, only what comes from now on has names.
    fn list_kernel_code(&mut self) {
        let now = boot_now();
        match process::kernel_code::read() {
            Ok(list) => self.kernel_code.listed(&list, now),
            Err(error) => {
                tracing::debug!(%error, "/proc/kallsyms cannot be read");
                self.kernel_code.listed(&[], now);
            }
        }
    }

    /// Tells the kernel side what is known of a process.
    fn publish(&mut self, pid: u32) {
        let publisher = &mut self.kernel.publisher;
        match self.processes.image(pid) {
            Some(image) => {
                let mappings = self.processes.mappings(pid);
                publisher.publish(pid, image, mappings, self.known_until);
                self.publish_runtime(pid, self.known_until);
            }
            None => publisher.forget(pid, self.known_until),
        }
    }

    /// Reads the rings, locates the samples, closes the window when its time is over.
    fn turn(&mut self, now: BootTime) {
        // First the rings, then the side-band: so it is read up to the time of every sample.
        self.read_rings();
        self.read_sideband();
        self.ask_attributes(now);
        self.take_attributes();
        self.locate(self.known_until.min(self.window_end));
        self.runtimes.follow(now);
        for pid in self.runtimes.due(now) {
            self.publish_runtime(pid, now);
        }
        if now >= self.next_second {
            let stood_still = now.since(self.next_second) >= STOOD_STILL;
            self.next_second = now.plus(SECOND);
            self.every_second(now, stood_still);
        }
        self.close_windows(now);
        let missing = self.demand.outstanding() > 0
            || now >= self.window_end && self.looks.is_waited_for(self.window_end, now);
        self.next_turn = now.plus(if missing { FIRST_TURNS } else { TURN });
        self.tell(now);
    }

    fn read_rings(&mut self) {
        let held = &mut self.held;
        let looks = &mut self.looks;
        let windows = &self.windows;
        let (mut read, mut overflow) = (0, 0);
        let drained = self.kernel.rings.drain(RECORDS_AT_ONCE, |sample| {
            if !windows.wants(sample.kind) {
                return;
            }
            let count = count_of(&sample);
            looks.sampled(sample.pid, sample.time);
            read += count;
            if !held.push(sample) {
                overflow += count;
            }
        });
        self.gauges.samples.fetch_add(read, Ordering::Release);
        self.losses.add(SampleLoss::WindowFull, overflow);
        self.losses
            .add(SampleLoss::RecordMalformed, drained.malformed);
    }

    /// Locates the samples up to `until` and adds them to the window.
    fn locate(&mut self, until: BootTime) {
        let mut unknown = Vec::new();
        for sample in self.held.take(until) {
            if sample.flags.has(SampleFlags::GOROUTINE_INCONSISTENT) {
                self.losses.add(Degradation::GoroutineInconsistent, 1);
            }
            if sample.flags.has(SampleFlags::UNKNOWN_PROCESS) {
                unknown.push(sample.pid);
            }
            let count = count_of(&sample);
            match self.processes.locate(&sample) {
                Ok(located) => self.label(sample, located),
                Err(cause) => self.losses.add(cause, count),
            }
        }
        self.kernel.publisher.rest();
        self.tell_new_locations();
        unknown.sort_unstable();
        unknown.dedup();
        for pid in unknown {
            if self.kernel.publisher.is_emptied(pid) {
                self.publish(pid);
            }
        }
    }

    /// Adds a sample whose stack is as whole as it gets to the window.
    fn add_finished(&mut self, mut located: LocatedSample) {
        // It may have waited while more was said of its process.
        if let Some(process) = self.processes.known(located.process.key) {
            located.process = Arc::clone(process);
        }
        self.kernel_code.settle(located.time, &mut located.frames);
        for frame in &located.frames {
            if let Some(executable) = &frame.executable {
                self.kernel.publisher.used(executable.id, located.time);
            }
        }
        if located.has_unknown_code() {
            self.losses.add(Degradation::MappingUnknown, 1);
        }
        self.windows.add(&located);
    }

    fn tell_new_locations(&mut self) {
        let new = self.windows.take_new_locations();
        if !new.is_empty() {
            (self.sink.new_locations)(new);
        }
    }

    /// Stops sampling, reads what is left, closes the last window.
    fn finish(&mut self) {
        self.kernel.sampler.stop();
        self.kernel.stop_off_cpu();
        let now = boot_now();
        self.read_rings();
        self.read_sideband();
        self.ask_attributes(now);
        self.locate(self.window_end);
        self.close_windows(now);
        self.locate(BootTime(u64::MAX));
        while self.lacks_something(boot_now()) && boot_now().since(now) < self.patience {
            self.wait(FIRST_TURNS);
            self.wake.clear();
            self.load_tables();
            self.take_constants();
            self.ask_attributes(boot_now());
            self.take_attributes();
        }
        self.give_up_labels();
        self.give_up();
        self.tell_new_locations();
        self.tell(now);
        self.close(now);
    }

    fn tell(&self, now: BootTime) {
        let gauges = &self.gauges;
        let set = |gauge: &std::sync::atomic::AtomicU64, value: u64| {
            gauge.store(value, Ordering::Relaxed);
        };
        set(&gauges.processes, self.processes.len() as u64);
        set(&gauges.table_bytes, self.kernel.publisher.table_bytes());
        set(&gauges.tables_outstanding, self.demand.outstanding() as u64);
        set(&gauges.last_turn, now.0);
        set(&gauges.ring_bytes, self.kernel.rings.bytes());
        if let Some((runs, nanoseconds)) = self.kernel.sample_cost() {
            set(&gauges.runs, runs);
            set(&gauges.run_nanoseconds, nanoseconds);
        }
        if let Some((runs, nanoseconds)) = self.kernel.off_cpu_cost() {
            set(&gauges.off_cpu_runs, runs);
            set(&gauges.off_cpu_nanoseconds, nanoseconds);
        }
    }
}
