//! What is read of processes beside their mappings: what is said of them, and where their runtimes have what the kernel side
//! reads. It is asked for, and taken when it is there.

use super::Running;
use crate::app::clock::boot_now;
use crate::enrich::{Amended, Source, executable};
use crate::inspect::{Mapped, Said};
use crate::profile::BootTime;

impl Running {
    /// Asks for what is said of the processes that were sampled. What their executables say is known at once.
    pub(super) fn ask_attributes(&mut self, now: BootTime) {
        let processes = &self.processes;
        let new = self.looks.ask(|pid| processes.image(pid), now);
        for (pid, image) in new {
            let Some(process) = self.processes.process(pid) else {
                continue;
            };
            let said = (Source::Executable, executable::attributes(process));
            if let Some(amended) = self.enricher.put(pid, image, [said]) {
                self.amend(amended);
            }
        }
    }

    /// Takes what came: it is known of the processes, and in the open windows.
    pub(super) fn take_attributes(&mut self) {
        for said in self.looks.take(boot_now()) {
            let Said { pid, image, .. } = said;
            let environment = said.environment.map(|said| (Source::Environment, said));
            let context = said.context.map(|said| (Source::ProcessContext, said));
            let said = environment.into_iter().chain(context);
            if let Some(amended) = self.enricher.put(pid, image, said) {
                self.amend(amended);
            }
        }
    }

    fn amend(&mut self, amended: Amended) {
        let Amended {
            pid,
            image,
            attributes,
        } = amended;
        if let Some(process) = self.processes.set_resource(pid, image, attributes) {
            self.windows.amend(process);
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
            if let Some(entry) = self.runtimes.entry(process, mappings, now)
                && !(self.kernel.publisher).set_runtime(pid, image, &entry, now)
            {
                self.runtimes.refused(process, now);
            }
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
        self.is_waited_for() || self.looks.is_waited_for(BootTime(u64::MAX), now)
    }
}
