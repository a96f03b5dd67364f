//! What is started next when everything but the process is started again, as a pure decision.
//!
//! A configuration that has run before is started again until it runs: what keeps it from it is the host's, and passes.
//! Another one is given [`PATIENCE`] for what may pass (a store or an address that what ended still holds, a system call
//! that was interrupted); then the one before takes its place. The first one of a process has nothing to fall back on.

use std::time::Duration;

use crate::config::AgentConfig;

/// How long a configuration that has not run yet may fail for reasons that pass.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time before the first repetition; it doubles each time.
const FIRST: Duration = Duration::from_millis(50);
/// Longest time between two.
const LONGEST: Duration = Duration::from_secs(5);

/// Why a start failed, as far as repeating it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Something else has what is needed, perhaps for a moment only.
    Held,
    /// A system call was interrupted or had no resources.
    Passing,
    /// Anything else.
    Lasting,
}

/// What to do after a failed start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start the same after this time.
    Again(Duration),
    /// Start what ran before: it is [`Starts::config`] now.
    RollBack,
    /// End: nothing has run.
    Fail,
}

/// The configuration that is to run, and what becomes of its failures.
#[derive(Debug)]
pub(super) struct Starts {
    config: AgentConfig,
    /// Has this configuration run?
    has_run: bool,
    /// The one that ran before it.
    before: Option<AgentConfig>,
    /// Time between the last failure and the next start.
    interval: Duration,
}

impl Starts {
    /// A process begins with this.
    pub(super) fn new(config: AgentConfig) -> Self {
        Self {
            config,
            has_run: false,
            before: None,
            interval: FIRST,
        }
    }

    /// What is to be started.
    pub(super) fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// `old` was in effect and has ended; `new` is to follow it.
    pub(super) fn restart(&mut self, old: AgentConfig, new: AgentConfig) {
        *self = Self {
            before: Some(old),
            ..Self::new(new)
        };
    }

    /// Another configuration is to be tried while none runs.
    pub(super) fn replace(&mut self, new: AgentConfig) {
        let old = std::mem::replace(&mut self.config, new);
        if self.has_run {
            self.before = Some(old);
            self.has_run = false;
        }
        self.interval = FIRST;
    }

    /// A start failed, this long after the first one of this configuration.
    pub(super) fn failed(&mut self, failure: Failure, since_first: Duration) -> Next {
        let is_first = !self.has_run && self.before.is_none();
        let passes = match failure {
            // Who starts a second agent wants to hear of it.
            Failure::Held => !is_first,
            Failure::Passing => true,
            Failure::Lasting => false,
        };
        if self.has_run || (passes && since_first < PATIENCE) {
            let interval = self.interval;
            self.interval = (interval * 2).min(LONGEST);
            return Next::Again(interval);
        }
        match self.before.take() {
            Some(before) => {
                self.config = before;
                self.has_run = true;
                self.interval = FIRST;
                Next::RollBack
            }
            None => Next::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(frequency: u32) -> AgentConfig {
        let mut config = AgentConfig::default();
        config.sampling.frequency = frequency;
        config
    }

    const SOON: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_secs(11);

    #[test]
    fn the_first_start_fails_but_for_what_passes() {
        let mut starts = Starts::new(config(1));
        assert_eq!(starts.failed(Failure::Passing, SOON), Next::Again(FIRST));
        assert_eq!(starts.failed(Failure::Held, SOON), Next::Fail);
        assert_eq!(starts.failed(Failure::Lasting, SOON), Next::Fail);
        assert_eq!(starts.failed(Failure::Passing, LATE), Next::Fail);
    }

    #[test]
    fn what_does_not_start_gives_way_to_what_ran_and_that_is_tried_for_ever() {
        let mut starts = Starts::new(config(1));
        starts.restart(config(2), config(3));
        assert_eq!(starts.failed(Failure::Held, SOON), Next::Again(FIRST));
        assert_eq!(
            starts.failed(Failure::Passing, SOON),
            Next::Again(2 * FIRST)
        );
        assert_eq!(starts.config(), &config(3));
        assert_eq!(starts.failed(Failure::Held, LATE), Next::RollBack);
        assert_eq!(starts.config(), &config(2));
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            match starts.failed(Failure::Lasting, LATE) {
                Next::Again(interval) => longest = longest.max(interval),
                next => panic!("{next:?}"),
            }
        }
        assert_eq!(longest, LONGEST);
    }

    #[test]
    fn a_lasting_failure_is_rolled_back_at_once() {
        let mut starts = Starts::new(config(1));
        starts.restart(config(2), config(3));
        assert_eq!(
            starts.failed(Failure::Lasting, Duration::ZERO),
            Next::RollBack
        );
        // What is read meanwhile is tried, and what ran is not forgotten for it.
        starts.replace(config(4));
        assert_eq!(starts.config(), &config(4));
        assert_eq!(
            starts.failed(Failure::Lasting, Duration::ZERO),
            Next::RollBack
        );
        assert_eq!(starts.config(), &config(2));
    }
}
