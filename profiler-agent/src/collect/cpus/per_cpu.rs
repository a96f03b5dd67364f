//! One event for every CPU, kept alive: does what [`Plan`] says.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::plan::{Plan, Progress, Step, Verdict};

/// What is open for a CPU.
pub trait CpuEvent {
    /// How long the kernel counts it as alive.
    ///
    /// # Errors
    /// Those of `read(2)`.
    fn progress(&self) -> io::Result<Progress>;
}

/// Why an event is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The CPU has none: it is new, or the last attempt failed.
    New,
    /// The one that it had was dead.
    Dead,
    /// The one that it had never got a counter.
    Starved,
}

/// Why an event could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// The CPU is offline.
    NoCpu,
    /// Anything else, in words.
    Trouble(String),
}

/// What [`PerCpu::follow`] did.
#[derive(Debug)]
pub struct Followed<E> {
    /// Events that are over, with their CPU: dead, or of a CPU that is offline.
    pub ended: Vec<(u32, E)>,
    /// CPUs whose event was opened, and why.
    pub opened: Vec<(u32, Reason)>,
    /// Events among them that were dead although their CPU is online.
    pub dead: u64,
    /// Attempts that failed.
    pub failures: u64,
}

/// The events of all CPUs.
#[derive(Debug)]
pub struct PerCpu<E> {
    plan: Plan,
    events: BTreeMap<u32, E>,
}

impl<E> Default for PerCpu<E> {
    fn default() -> Self {
        Self {
            plan: Plan::default(),
            events: BTreeMap::new(),
        }
    }
}

impl<E: CpuEvent> PerCpu<E> {
    /// Opens events of CPUs that have none and closes those that are over. `stood_still` as in [`Plan::steps`].
    pub fn follow(
        &mut self,
        online: &BTreeSet<u32>,
        now: Instant,
        stood_still: bool,
        open: &mut dyn FnMut(u32, Reason) -> Result<E, NotOpened>,
    ) -> Followed<E> {
        let mut followed = Followed {
            ended: Vec::new(),
            opened: Vec::new(),
            dead: 0,
            failures: 0,
        };
        for step in self.plan.steps(online, now, stood_still) {
            let (cpu, reason) = match step {
                Step::Close(cpu) => {
                    self.plan.closed(cpu);
                    followed
                        .ended
                        .extend(self.events.remove(&cpu).map(|event| (cpu, event)));
                    continue;
                }
                Step::Check(cpu) => {
                    let event = self.events.get(&cpu);
                    let progress = event.and_then(|event| event.progress().ok());
                    let reason = match self.plan.checked(cpu, progress, now) {
                        Verdict::Alive => continue,
                        Verdict::Dead => {
                            followed.dead += 1;
                            Reason::Dead
                        }
                        Verdict::Starved => Reason::Starved,
                    };
                    self.plan.closed(cpu);
                    followed
                        .ended
                        .extend(self.events.remove(&cpu).map(|event| (cpu, event)));
                    (cpu, reason)
                }
                Step::Open(cpu) => (cpu, Reason::New),
            };
            match open(cpu, reason) {
                Ok(event) => {
                    self.plan.opened(cpu, now);
                    self.events.insert(cpu, event);
                    followed.opened.push((cpu, reason));
                }
                Err(NotOpened::NoCpu) => self.plan.failed(cpu, None, now),
                Err(NotOpened::Trouble(trouble)) => {
                    self.plan.failed(cpu, Some(trouble), now);
                    followed.failures += 1;
                }
            }
        }
        followed
    }

    /// Closes all.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The events, by CPU.
    pub const fn events(&self) -> &BTreeMap<u32, E> {
        &self.events
    }

    /// The events, by CPU.
    pub fn events_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.events.values_mut()
    }

    /// The CPUs whose event could not be opened, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (u32, &str)> {
        self.plan.troubles()
    }
}

/// Reads the times of a perf event that was opened with `PERF_FORMAT_TOTAL_TIME_ENABLED |
/// PERF_FORMAT_TOTAL_TIME_RUNNING`: `value`, `time_enabled`, `time_running`, u64 each.
pub fn read_progress(event: BorrowedFd<'_>) -> io::Result<Progress> {
    let mut bytes = [0; 24];
    let length = rustix::io::read(event, &mut bytes)?;
    // An event in an error state reads as nothing.
    if length != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[8 * index..8 * index + 8]);
        Duration::from_nanos(u64::from_ne_bytes(word))
    };
    Ok(Progress {
        enabled: word(1),
        running: word(2),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An event whose clock the test turns.
    struct Fake(Rc<Cell<Duration>>);

    impl CpuEvent for Fake {
        fn progress(&self) -> io::Result<Progress> {
            Ok(Progress {
                enabled: self.0.get(),
                running: self.0.get(),
            })
        }
    }

    /// CPUs whose events fail as the test says.
    #[derive(Default)]
    struct Kernel {
        clocks: RefCell<BTreeMap<u32, Rc<Cell<Duration>>>>,
        refuse: RefCell<BTreeMap<u32, NotOpened>>,
        attempts: RefCell<Vec<(u32, Reason)>>,
    }

    impl Kernel {
        fn open(&self, cpu: u32, reason: Reason) -> Result<Fake, NotOpened> {
            self.attempts.borrow_mut().push((cpu, reason));
            if let Some(refused) = self.refuse.borrow().get(&cpu) {
                return Err(refused.clone());
            }
            let clock = Rc::new(Cell::new(Duration::ZERO));
            self.clocks.borrow_mut().insert(cpu, Rc::clone(&clock));
            Ok(Fake(clock))
        }
        fn pass(&self, cpu: u32, time: Duration) {
            let clock = &self.clocks.borrow()[&cpu];
            clock.set(clock.get() + time);
        }
    }

    #[test]
    fn one_cpu_that_fails_keeps_no_other_from_its_event() {
        for error in [
            libc::EBUSY,
            libc::ENOMEM,
            libc::EMFILE,
            libc::ENOSPC,
            libc::EINVAL,
            libc::EACCES,
        ] {
            let kernel = Kernel::default();
            let words = io::Error::from_raw_os_error(error).to_string();
            kernel
                .refuse
                .borrow_mut()
                .insert(1, NotOpened::Trouble(words.clone()));
            let mut events = PerCpu::default();
            let online = [0, 1, 2].into();
            let start = Instant::now();
            let mut open = |cpu, reason| kernel.open(cpu, reason);
            let followed = events.follow(&online, start, false, &mut open);
            assert_eq!(followed.failures, 1);
            assert_eq!(followed.opened, [(0, Reason::New), (2, Reason::New)]);
            let troubles: Vec<_> = events.troubles().collect();
            assert_eq!(troubles, [(1, words.as_str())]);
            // The cause goes away.
            kernel.refuse.borrow_mut().clear();
            for cpu in [0, 2] {
                kernel.pass(cpu, SECOND);
            }
            let followed = events.follow(&online, start + SECOND, false, &mut open);
            assert_eq!(followed.opened, [(1, Reason::New)]);
            assert_eq!(followed.ended.len(), 0);
            assert_eq!(events.troubles().count(), 0);
        }
    }

    #[test]
    fn a_dead_event_is_replaced_in_the_same_step() {
        let kernel = Kernel::default();
        let mut events = PerCpu::default();
        let online = [0, 1].into();
        let start = Instant::now();
        let mut open = |cpu, reason| kernel.open(cpu, reason);
        events.follow(&online, start, false, &mut open);
        kernel.pass(0, SECOND);
        let followed = events.follow(&online, start + SECOND, false, &mut open);
        assert_eq!(followed.opened, [(1, Reason::Dead)]);
        assert_eq!(followed.dead, 1);
        let ended: Vec<u32> = followed.ended.iter().map(|(cpu, _)| *cpu).collect();
        assert_eq!(ended, [1]);
        assert_eq!(events.events().len(), 2);
    }

    #[test]
    fn a_dead_event_that_cannot_be_replaced_is_tried_again() {
        let kernel = Kernel::default();
        let mut events = PerCpu::default();
        let online = [0].into();
        let start = Instant::now();
        let mut open = |cpu, reason| kernel.open(cpu, reason);
        events.follow(&online, start, false, &mut open);
        // It is offline just now: no failure.
        kernel.refuse.borrow_mut().insert(0, NotOpened::NoCpu);
        let followed = events.follow(&online, start + SECOND, false, &mut open);
        assert_eq!((followed.failures, followed.ended.len()), (0, 1));
        assert!(events.events().is_empty());
        assert_eq!(events.troubles().count(), 0);
        kernel.refuse.borrow_mut().clear();
        events.follow(&online, start + SECOND * 2, false, &mut open);
        assert_eq!(events.events().len(), 1);
        let attempts = kernel.attempts.borrow();
        assert_eq!(
            *attempts,
            [(0, Reason::New), (0, Reason::Dead), (0, Reason::New)]
        );
    }
}
