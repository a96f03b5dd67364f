//! The sampling events: one per CPU, each running the `sample` program once per period.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use perf_event_open_sys::bindings as perf;
use perf_event_open_sys::ioctls;

use super::CollectError;
use crate::profile::SamplePeriod;

/// What makes a CPU take samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The PMU's cycle counter: also samples code that runs with interrupts off.
    Cycles,
    /// The kernel's per-CPU timer: works everywhere.
    CpuClock,
}

/// The events that are open.
pub struct Sampler {
    program: OwnedFd,
    clock: Clock,
    period: SamplePeriod,
    events: BTreeMap<u32, OwnedFd>,
}

impl Sampler {
    /// A sampler that is off. `program` is the `sample` program's descriptor.
    pub fn new(program: BorrowedFd<'_>, period: SamplePeriod) -> Result<Self, CollectError> {
        Ok(Self {
            program: program
                .try_clone_to_owned()
                .map_err(|source| system("dup", source))?,
            clock: choose_clock(period)?,
            period,
            events: BTreeMap::new(),
        })
    }

    /// What makes the CPUs take samples.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Starts sampling on `cpu`, if it is not sampled already. A CPU that has just gone offline is
    /// no error.
    pub fn add(&mut self, cpu: u32) -> Result<(), CollectError> {
        if self.events.contains_key(&cpu) {
            return Ok(());
        }
        let event = match open(self.clock, self.period, cpu) {
            Ok(event) => event,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
            Err(error) => return Err(refused(error)),
        };
        // SAFETY: both descriptors are open; the ioctl takes the program's descriptor by value.
        let result = unsafe { ioctls::SET_BPF(event.as_raw_fd(), self.program.as_raw_fd() as u32) };
        if result < 0 {
            return Err(system("PERF_EVENT_IOC_SET_BPF", io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is open; the ioctl takes no pointer.
        if unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) } < 0 {
            return Err(system("PERF_EVENT_IOC_ENABLE", io::Error::last_os_error()));
        }
        self.events.insert(cpu, event);
        Ok(())
    }

    /// Stops sampling on `cpu`.
    pub fn remove(&mut self, cpu: u32) {
        self.events.remove(&cpu);
    }

    /// Stops sampling everywhere.
    pub fn stop(&mut self) {
        self.events.clear();
    }

    /// CPUs that are sampled.
    pub fn cpus(&self) -> impl Iterator<Item = u32> + '_ {
        self.events.keys().copied()
    }
}

/// Cycles where the machine has a PMU that counts them, else the timer: found by trying.
fn choose_clock(period: SamplePeriod) -> Result<Clock, CollectError> {
    let cpu = *super::cpus::online()
        .map_err(|source| system("reading the CPUs that are online", source))?
        .first()
        .unwrap_or(&0);
    if open(Clock::Cycles, period, cpu).is_ok() {
        return Ok(Clock::Cycles);
    }
    open(Clock::CpuClock, period, cpu)
        .map(|_| Clock::CpuClock)
        .map_err(refused)
}

fn open(clock: Clock, period: SamplePeriod, cpu: u32) -> io::Result<OwnedFd> {
    let mut attributes = perf::perf_event_attr::default();
    attributes.size = size_of::<perf::perf_event_attr>() as u32;
    attributes.set_disabled(1);
    match clock {
        Clock::Cycles => {
            attributes.type_ = perf::PERF_TYPE_HARDWARE;
            attributes.config = u64::from(perf::PERF_COUNT_HW_CPU_CYCLES);
            attributes.set_freq(1);
            attributes.__bindgen_anon_1.sample_freq = (1_000_000_000 / period.nanoseconds()).max(1);
        }
        Clock::CpuClock => {
            attributes.type_ = perf::PERF_TYPE_SOFTWARE;
            attributes.config = u64::from(perf::PERF_COUNT_SW_CPU_CLOCK);
            // A fixed period: the kernel's frequency mode would hunt around it.
            attributes.__bindgen_anon_1.sample_period = period.nanoseconds();
            attributes.set_exclude_idle(1);
        }
    }
    // SAFETY: `attributes` is initialised and outlives the call.
    let descriptor = unsafe {
        perf_event_open_sys::perf_event_open(
            &raw mut attributes,
            -1,
            cpu as i32,
            -1,
            u64::from(perf::PERF_FLAG_FD_CLOEXEC) as _,
        )
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn system(call: &str, source: io::Error) -> CollectError {
    CollectError::System {
        call: call.to_owned(),
        source,
    }
}

/// What a refused perf_event_open means, and what helps.
fn refused(source: io::Error) -> CollectError {
    match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => CollectError::Privilege {
            what: "opening a perf event",
            source,
            fix: super::loader::privilege_fix(),
        },
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENOSYS) => CollectError::Kernel {
            missing: "perf events".to_owned(),
            fix: "A kernel with CONFIG_PERF_EVENTS is needed.",
        },
        _ => system("perf_event_open", source),
    }
}
