//! The sampling events: one per CPU, each running the `sample` program once per period.
//!
//! One CPU whose event cannot be opened is not sampled until it can be; the others are. A CPU whose cycle counter is not
//! to be had, or always in use by somebody else, is sampled by the timer.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::time::Instant;

use perf_event_open_sys::bindings as perf;
use perf_event_open_sys::ioctls;

use super::cpus::per_cpu::read_progress;
use super::cpus::plan::Progress;
use super::cpus::{CpuEvent, NotOpened, PerCpu, Reason};
use super::error::{Attempt, Refusal};
use super::{CollectError, cpus};
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
    opener: Opener,
    events: PerCpu<Event>,
}

struct Event(OwnedFd);

impl CpuEvent for Event {
    fn progress(&self) -> io::Result<Progress> {
        read_progress(self.0.as_fd())
    }
}

/// Opens events.
struct Opener {
    program: OwnedFd,
    clock: Clock,
    period: SamplePeriod,
    /// CPUs whose cycle counter is not to be had.
    by_timer: BTreeSet<u32>,
    /// Why the last one could not be opened.
    refused: Option<Refusal>,
}

impl Sampler {
    /// A sampler that is off. `program` is the `sample` program's descriptor.
    ///
    /// # Errors
    /// No CPU that is online can be sampled.
    pub fn new(program: BorrowedFd<'_>, period: SamplePeriod) -> Result<Self, CollectError> {
        let program = program
            .try_clone_to_owned()
            .map_err(|source| CollectError::explained(Attempt::SampleCpu(0), &source))?;
        let online =
            cpus::online().map_err(|source| CollectError::explained(Attempt::FindCpus, &source))?;
        let clock = choose_clock(&online, |clock, cpu| open(clock, period, cpu).map(drop))?;
        Ok(Self {
            opener: Opener {
                program,
                clock,
                period,
                by_timer: BTreeSet::new(),
                refused: None,
            },
            events: PerCpu::default(),
        })
    }

    /// Samples the CPUs that are `online`, and lets go of the others. Each CPU is `prepare`d before it is sampled; when
    /// that fails, it is not sampled, and tried again later. `stood_still`: the agent did not run for a while.
    pub fn follow(
        &mut self,
        online: &BTreeSet<u32>,
        now: Instant,
        stood_still: bool,
        prepare: &mut dyn FnMut(u32) -> Result<(), Refusal>,
    ) -> Sampled {
        let opener = &mut self.opener;
        let mut open = |cpu, reason| {
            let opened = prepare(cpu).and_then(|()| opener.open(cpu, reason));
            match opened {
                Ok(Some(event)) => Ok(event),
                Ok(None) => Err(NotOpened::NoCpu),
                Err(refusal) => {
                    let trouble = refusal.reason();
                    opener.refused = Some(refusal);
                    Err(NotOpened::Trouble(trouble))
                }
            }
        };
        let followed = self.events.follow(online, now, stood_still, &mut open);
        let begun = followed.opened.iter();
        Sampled {
            begun: begun.filter(|(_, reason)| *reason == Reason::New).count() as u64,
            interrupted: followed.dead,
            failures: followed.failures,
        }
    }

    /// Stops sampling everywhere.
    pub fn stop(&mut self) {
        self.events.clear();
    }

    /// CPUs that are sampled.
    pub fn cpus(&self) -> impl Iterator<Item = u32> + '_ {
        self.events.events().keys().copied()
    }

    /// CPUs that are online and cannot be sampled, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (u32, &str)> {
        self.events.troubles()
    }

    /// Is there a CPU that is sampled?
    ///
    /// # Errors
    /// There is none; why the last one that was tried cannot be.
    pub fn require_one(&mut self) -> Result<(), CollectError> {
        if !self.events.events().is_empty() {
            return Ok(());
        }
        let refused = self.opener.refused.take().unwrap_or_else(|| {
            let offline = io::Error::from_raw_os_error(libc::ENODEV);
            Refusal::of(Attempt::SampleCpu(0), &offline)
        });
        Err(refused.into())
    }
}

/// What [`Sampler::follow`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// CPUs that are sampled from now on and were not.
    pub begun: u64,
    /// CPUs that had been offline without anybody having noticed, and are sampled again.
    pub interrupted: u64,
    /// Attempts that failed.
    pub failures: u64,
}

impl Opener {
    /// An event that runs the program; `None` when the CPU is offline.
    fn open(&mut self, cpu: u32, reason: Reason) -> Result<Option<Event>, Refusal> {
        if reason == Reason::Starved {
            self.give_up_counter(cpu, "is always in use by somebody else");
        }
        let clock = if self.by_timer.contains(&cpu) {
            Clock::CpuClock
        } else {
            self.clock
        };
        let opened = match open(clock, self.period, cpu) {
            Err(error) if clock == Clock::Cycles && is_of_the_counter(&error) => {
                let opened = open(Clock::CpuClock, self.period, cpu);
                if opened.is_ok() {
                    self.give_up_counter(cpu, &format!("cannot be used: {error}"));
                }
                opened
            }
            opened => opened,
        };
        let event = match opened {
            Ok(event) => event,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            Err(error) => return Err(Refusal::of(Attempt::SampleCpu(cpu), &error)),
        };
        // SAFETY: both descriptors are open; the ioctl takes the program's descriptor by value.
        let result = unsafe { ioctls::SET_BPF(event.as_raw_fd(), self.program.as_raw_fd() as u32) };
        if result < 0 {
            return Err(Refusal::of(
                Attempt::RunProgram(cpu),
                &io::Error::last_os_error(),
            ));
        }
        // SAFETY: the descriptor is open; the ioctl takes no pointer.
        if unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) } < 0 {
            return Err(Refusal::of(
                Attempt::SampleCpu(cpu),
                &io::Error::last_os_error(),
            ));
        }
        Ok(Some(Event(event)))
    }

    fn give_up_counter(&mut self, cpu: u32, why: &str) {
        if self.by_timer.insert(cpu) {
            tracing::info!("CPU {cpu} is sampled by the timer: its cycle counter {why}");
        }
    }
}

/// Does the timer perhaps work where a cycle counter gave this error?
fn is_of_the_counter(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(
            libc::ENODEV | libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EPERM | libc::EACCES
        )
    )
}

/// Cycles where the machine has a PMU that counts them, else the timer: found by trying on one CPU after the other,
/// because each may be offline, or used by somebody else, when it is tried.
fn choose_clock(
    online: &BTreeSet<u32>,
    mut open: impl FnMut(Clock, u32) -> io::Result<()>,
) -> Result<Clock, CollectError> {
    let mut refused = None;
    for clock in [Clock::Cycles, Clock::CpuClock] {
        for cpu in online {
            match open(clock, *cpu) {
                Ok(()) => return Ok(clock),
                Err(error) => {
                    let is_offline = error.raw_os_error() == Some(libc::ENODEV);
                    if refused.is_none() || (clock == Clock::CpuClock && !is_offline) {
                        refused = Some((*cpu, error));
                    }
                    // Another CPU has no other kind of clock.
                    if !is_offline {
                        break;
                    }
                }
            }
        }
    }
    let (cpu, error) = refused.unwrap_or_else(|| (0, io::Error::from_raw_os_error(libc::ENODEV)));
    Err(Refusal::of(Attempt::SampleCpu(cpu), &error).into())
}

fn open(clock: Clock, period: SamplePeriod, cpu: u32) -> io::Result<OwnedFd> {
    let mut attributes = perf::perf_event_attr::default();
    // As much as is used: a kernel with a shorter structure takes it too.
    attributes.size = perf::PERF_ATTR_SIZE_VER0;
    attributes.set_disabled(1);
    attributes.read_format =
        u64::from(perf::PERF_FORMAT_TOTAL_TIME_ENABLED | perf::PERF_FORMAT_TOTAL_TIME_RUNNING);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn the_clock_is_found_on_the_cpu_that_answers() {
        let online = [0, 1, 2].into();
        // CPU 0 goes offline just now.
        let chosen = choose_clock(&online, |_, cpu| match cpu {
            0 => Err(error(libc::ENODEV)),
            _ => Ok(()),
        });
        assert_eq!(chosen.unwrap(), Clock::Cycles);
        let mut tried = Vec::new();
        let chosen = choose_clock(&online, |clock, cpu| {
            tried.push((clock, cpu));
            match clock {
                Clock::Cycles => Err(error(libc::ENOENT)),
                Clock::CpuClock => Ok(()),
            }
        });
        assert_eq!(chosen.unwrap(), Clock::CpuClock);
        assert_eq!(tried, [(Clock::Cycles, 0), (Clock::CpuClock, 0)]);
    }

    #[test]
    fn where_no_cpu_can_be_sampled_the_reason_is_that_of_the_timer() {
        let online = [0, 1].into();
        let refused = choose_clock(&online, |clock, _| {
            Err(error(match clock {
                Clock::Cycles => libc::ENOENT,
                Clock::CpuClock => libc::EMFILE,
            }))
        });
        let sentence = refused.unwrap_err().to_string();
        assert!(
            sentence
                .starts_with("sampling CPU 0 (perf_event_open): the agent has as many files open"),
            "{sentence}"
        );
        let refused = choose_clock(&online, |_, _| Err(error(libc::ENODEV)));
        assert!(refused.is_err());
    }

    #[test]
    fn the_timer_stands_in_for_a_counter_and_not_for_what_it_lacks_too() {
        for number in [
            libc::ENOENT,
            libc::EBUSY,
            libc::EINVAL,
            libc::EOPNOTSUPP,
            libc::ENOSPC,
        ] {
            assert!(is_of_the_counter(&error(number)));
        }
        for number in [libc::ENODEV, libc::EMFILE, libc::EACCES] {
            assert!(!is_of_the_counter(&error(number)));
        }
    }
}
