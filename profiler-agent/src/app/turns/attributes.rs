//! What is said of processes: asked for at each turn, taken when it is there.

use super::Running;
use crate::app::clock::boot_now;
use crate::enrich::Amended;
use crate::profile::BootTime;

impl Running {
    /// Asks for what is said of the processes that were sampled.
    pub(super) fn ask_attributes(&mut self, now: BootTime) {
        let processes = &self.processes;
        self.enricher.ask(|pid| processes.image(pid), now);
    }

    /// Takes what came: it is known of the processes, and in the open windows.
    pub(super) fn take_attributes(&mut self) {
        for amended in self.enricher.take(boot_now()) {
            let Amended {
                pid,
                image,
                attributes,
            } = amended;
            if let Some(process) = self.processes.set_resource(pid, image, attributes) {
                self.windows.amend(process);
            }
        }
    }

    /// Does the last window wait for anything?
    pub(super) fn lacks_something(&self, now: BootTime) -> bool {
        self.is_waited_for() || self.enricher.is_waited_for(BootTime(u64::MAX), now)
    }
}
