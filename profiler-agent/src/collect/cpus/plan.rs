//! When the event of each CPU is opened, looked at and given up: pure.
//!
//! - A CPU that is online gets an event; one that goes offline loses it.
//! - What fails is tried again after [`FIRST_WAIT`], then after twice as long each time, at most
//!   [`LAST_WAIT`].
//! - An event of a CPU that went offline is dead for good, also when the CPU comes back before anybody
//!   looks: `online` is the same as before then, a new event can be opened, and the old one can even be enabled
//!   without an error. What shows it is the time that the kernel counts for the event (`time_enabled`): it goes on
//!   with the clock while the event is alive, idle CPU or not, and stands still for ever from when the CPU
//!   went offline. `poll(2)` says nothing of it. (Tried on kernels of both ends of the range that is supported.)
//! - Reading that time asks the CPU for it, so at most [`CHECKS_AT_ONCE`] events are looked at in one
//!   step, in turn; all of them when the agent itself has stood still.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Time from the first failure to the next attempt.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest time between two attempts.
pub const LAST_WAIT: Duration = Duration::from_secs(10);
/// Events that are looked at in one step.
pub const CHECKS_AT_ONCE: usize = 32;
/// An event that was looked at less long ago is not judged: too little time would have to pass.
const JUDGED_AFTER: Duration = Duration::from_millis(500);

/// How long the kernel counts an event as alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Time since it was enabled.
    pub enabled: Duration,
    /// Time of that in which it had what it counts with: less where hardware counters are shared.
    pub running: Duration,
}

/// What is to be done for a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open its event.
    Open(u32),
    /// Read its event's [`Progress`].
    Check(u32),
    /// Close its event: the CPU is offline.
    Close(u32),
}

/// What an event's progress says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Alive,
    /// Its CPU was offline in the meantime: a new one is needed.
    Dead,
    /// It never gets what it counts with: somebody else has the CPU's counter.
    Starved,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open {
        checked: Instant,
        progress: Progress,
    },
    Waiting {
        retry_at: Instant,
        wait: Duration,
        /// `None`: the CPU was not there when it was tried, which is no failure.
        trouble: Option<String>,
    },
}

/// What is known of the event of every CPU.
#[derive(Debug, Default)]
pub struct Plan {
    states: BTreeMap<u32, State>,
    /// The CPU whose event was looked at last.
    last_checked: Option<u32>,
}

impl Plan {
    /// What is to be done now. `stood_still`: the agent did not run for a while (it was stopped, or the machine
    /// slept), so CPUs may have come and gone.
    #[must_use]
    pub fn steps(&mut self, online: &BTreeSet<u32>, now: Instant, stood_still: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut checks = Vec::new();
        for (cpu, state) in &self.states {
            match state {
                State::Open { .. } if !online.contains(cpu) => steps.push(Step::Close(*cpu)),
                State::Open { checked, .. }
                    if now.saturating_duration_since(*checked) >= JUDGED_AFTER =>
                {
                    checks.push(*cpu);
                }
                State::Open { .. } | State::Waiting { .. } => {}
            }
        }
        self.states
            .retain(|cpu, state| online.contains(cpu) || matches!(state, State::Open { .. }));
        if !stood_still && checks.len() > CHECKS_AT_ONCE {
            let from = self.last_checked.map_or(0, |last| {
                checks.partition_point(|cpu| *cpu <= last) % checks.len()
            });
            checks.rotate_left(from);
            checks.truncate(CHECKS_AT_ONCE);
        }
        self.last_checked = checks.last().copied().or(self.last_checked);
        steps.extend(checks.into_iter().map(Step::Check));
        for cpu in online {
            let due = match self.states.get(cpu) {
                None => true,
                Some(State::Waiting { retry_at, .. }) => stood_still || *retry_at <= now,
                Some(State::Open { .. }) => false,
            };
            if due {
                steps.push(Step::Open(*cpu));
            }
        }
        steps
    }

    /// The event of `cpu` was opened.
    pub fn opened(&mut self, cpu: u32, now: Instant) {
        let open = State::Open {
            checked: now,
            progress: Progress::default(),
        };
        self.states.insert(cpu, open);
    }

    /// The event of `cpu` was closed.
    pub fn closed(&mut self, cpu: u32) {
        self.states.remove(&cpu);
    }

    /// The event of `cpu` could not be opened. `trouble` says why; `None` when the CPU was not there, which is what
    /// becomes of a CPU that goes offline between the look at `online` and the attempt.
    pub fn failed(&mut self, cpu: u32, trouble: Option<String>, now: Instant) {
        let wait = match (self.states.get(&cpu), &trouble) {
            (Some(State::Waiting { wait, .. }), Some(_)) => (*wait * 2).min(LAST_WAIT),
            _ => FIRST_WAIT,
        };
        let waiting = State::Waiting {
            retry_at: now + wait,
            wait,
            trouble,
        };
        self.states.insert(cpu, waiting);
    }

    /// The event of `cpu` says `progress`; `None` when it cannot be read.
    pub fn checked(&mut self, cpu: u32, progress: Option<Progress>, now: Instant) -> Verdict {
        let Some(State::Open {
            checked,
            progress: before,
        }) = self.states.get_mut(&cpu)
        else {
            return Verdict::Alive;
        };
        let Some(progress) = progress else {
            return Verdict::Dead;
        };
        let passed = now.saturating_duration_since(*checked);
        let enabled = progress.enabled.saturating_sub(before.enabled);
        let running = progress.running.saturating_sub(before.running);
        *checked = now;
        *before = progress;
        // Half: a CPU that went offline in between counted a part of the time.
        if enabled < passed / 2 {
            Verdict::Dead
        } else if running.is_zero() {
            Verdict::Starved
        } else {
            Verdict::Alive
        }
    }

    /// The CPUs whose event could not be opened, and why.
    pub fn troubles(&self) -> impl Iterator<Item = (u32, &str)> {
        self.states.iter().filter_map(|(cpu, state)| match state {
            State::Waiting {
                trouble: Some(trouble),
                ..
            } => Some((*cpu, trouble.as_str())),
            State::Waiting { .. } | State::Open { .. } => None,
        })
    }

    /// The CPUs whose event is open.
    pub fn open(&self) -> impl Iterator<Item = u32> {
        self.states.iter().filter_map(|(cpu, state)| match state {
            State::Open { .. } => Some(*cpu),
            State::Waiting { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests;
