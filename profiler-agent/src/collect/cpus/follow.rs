//! Keeps every CPU that is online sampled and its processes followed, and says which is not.

use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use super::plan::LAST_WAIT;
use super::sentence;
use crate::collect::CollectError;
use crate::collect::error::{Attempt, Refusal};
use crate::collect::rings::Rings;
use crate::collect::sampler::Sampler;
use crate::collect::sideband::Sideband;
use crate::profile::{Degradation, Losses};

/// See the module.
#[derive(Debug, Default)]
pub struct CpuFollower {
    online: BTreeSet<u32>,
    /// Why the list of CPUs could not be read the last time.
    unreadable: Option<String>,
    started: bool,
    losses: Losses,
}

impl CpuFollower {
    /// Samples the CPUs that are online and follows what their processes do; to be called about once a second.
    /// Nothing that fails is an error: it is counted, said in [`CpuFollower::troubles`], and tried again. `stood_still`:
    /// the agent did not run for a while.
    pub fn follow(
        &mut self,
        rings: &mut Rings,
        sampler: &mut Sampler,
        sideband: &mut Sideband,
        stood_still: bool,
    ) {
        self.read_online(super::online());
        let now = Instant::now();
        // First what happens to processes, then samples of them.
        sideband.follow(&self.online, now, stood_still);
        let sampled = sampler.follow(&self.online, now, stood_still, &mut |cpu| rings.add(cpu));
        self.losses.add(Degradation::CpuUnsampled, sampled.failures);
        if self.started {
            let interrupted = sampled.interrupted + sampled.begun;
            self.losses.add(Degradation::CpuInterrupted, interrupted);
        }
        self.started = true;
    }

    /// The same for the first time.
    ///
    /// # Errors
    /// Not one CPU can be sampled.
    pub fn start(
        &mut self,
        rings: &mut Rings,
        sampler: &mut Sampler,
        sideband: &mut Sideband,
    ) -> Result<(), CollectError> {
        self.follow(rings, sampler, sideband, false);
        sampler.require_one()
    }

    fn read_online(&mut self, online: io::Result<BTreeSet<u32>>) {
        match online {
            Ok(online) => {
                self.online = online;
                self.unreadable = None;
            }
            // The CPUs that are known are most likely still there.
            Err(error) => {
                self.unreadable = Some(Refusal::of(Attempt::FindCpus, &error).to_string());
            }
        }
    }

    /// Number of CPUs that are online and not sampled.
    #[must_use]
    pub fn unsampled(&self, sampler: &Sampler) -> usize {
        let sampled: BTreeSet<u32> = sampler.cpus().collect();
        self.online.difference(&sampled).count()
    }

    /// What does not work just now, in sentences.
    #[must_use]
    pub fn troubles(&self, sampler: &Sampler, sideband: &Sideband) -> Vec<String> {
        let seconds = LAST_WAIT.as_secs();
        let again = format!("tried again every {seconds} s");
        let mut sentences: Vec<String> = self.unreadable.iter().cloned().collect();
        for (cpus, reason) in sentence::grouped(sampler.troubles()) {
            let verb = if cpus.is_one { "is" } else { "are" };
            sentences.push(format!("{cpus} {verb} not sampled ({again}): {reason}"));
        }
        for (cpus, reason) in sentence::grouped(sideband.troubles()) {
            sentences.push(format!(
                "what processes do on {cpus} is not followed but read from /proc now and then ({again}): {reason}"
            ));
        }
        sentences
    }

    /// What was lost since the last call.
    pub fn take_losses(&mut self) -> Losses {
        self.losses.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_known_cpus_stand_in_while_the_list_cannot_be_read() {
        let mut follower = CpuFollower::default();
        follower.read_online(Ok([0, 2].into()));
        follower.read_online(Err(io::Error::from_raw_os_error(libc::EMFILE)));
        assert_eq!(follower.online, [0, 2].into());
        let said = follower.unreadable.clone().unwrap();
        assert!(said.contains("RLIMIT_NOFILE"), "{said}");
        follower.read_online(Ok([0].into()));
        assert_eq!((follower.online, follower.unreadable), ([0].into(), None));
    }
}
