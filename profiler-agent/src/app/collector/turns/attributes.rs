//! What is read of processes beside their mappings: what is said of them, and where their runtimes have what the kernel side
//! reads. It is asked for, and taken when it is there.

use super::Running;
use crate::app::clock::boot_now;
use crate::app::runtimes::Mapped;
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

    /// Tells the kernel side of the runtime of a process, as far as that is known.
    pub(super) fn publish_runtime(&mut self, pid: u32, now: BootTime) {
        if let (Some(image), Some(process)) =
            (self.processes.image(pid), self.processes.process(pid))
        {
            let process = Mapped {
                pid,
                image,
                program: &process.executable,
            };
            let mappings = self.processes.mappings(pid);
            let publisher = &mut self.kernel.publisher;
            self.runtimes.publish(process, mappings, publisher, now);
        }
    }

    /// Tells it of the processes whose memory was read.
    pub(super) fn take_variables(&mut self) {
        let now = boot_now();
        for pid in self.runtimes.take() {
            self.publish_runtime(pid, now);
        }
    }

    /// Does the last window wait for anything?
    pub(super) fn lacks_something(&self, now: BootTime) -> bool {
        self.is_waited_for() || self.enricher.is_waited_for(BootTime(u64::MAX), now)
    }
}
