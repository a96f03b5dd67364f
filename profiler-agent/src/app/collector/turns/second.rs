//! What the collector thread waits for, and what it does once a second: it follows the CPUs, forgets what is not
//! needed any more, tries again what failed, and says what does not work.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Running;
use crate::app::allocator::give_memory_back;
use crate::app::economy::Economy;
use crate::app::wake::{Kind, Woken};
use crate::collect::{Kernel, traces};
use crate::profile::{BootTime, Degradation};

impl Running {
    /// Waits until something happens, at most `at_most`. Where that cannot be waited for, turns alone read everything.
    pub(super) fn wait(&mut self, at_most: Duration) -> Woken {
        self.waiter.wait(at_most).unwrap_or_else(|error| {
            self.waiting = Some(format!("waiting for the rings (epoll_wait): {error}"));
            std::thread::sleep(at_most);
            Woken::default()
        })
    }

    /// Waits for the descriptors of all CPUs, new ones included. What cannot be waited for is read every turn all the
    /// same.
    pub(super) fn watch_descriptors(&mut self) {
        let rings = self.kernel.rings.descriptors().map(|fd| (fd, Kind::Ring));
        let sideband = self.sideband.fds().map(|(_, fd)| (fd, Kind::Sideband));
        let wake = std::iter::once((self.wake.as_fd(), Kind::Wake));
        let failed = wake
            .chain(rings)
            .chain(sideband)
            .filter_map(|(descriptor, kind)| self.waiter.add(descriptor, kind).err())
            .last();
        self.waiting = failed.map(|error| {
            format!(
                "some rings are read five times a second only, because they cannot be waited for: epoll_ctl: {error}. \
                 Raise the sysctl fs.epoll.max_user_watches."
            )
        });
    }

    /// Follows the CPUs, forgets what is not needed any more, tries again what failed.
    pub(super) fn every_second(&mut self, now: BootTime, stood_still: bool) {
        let Kernel { rings, sampler, .. } = &mut self.kernel;
        self.cpus
            .follow(rings, sampler, &mut self.sideband, stood_still);
        self.watch_descriptors();
        self.kernel.traces.follow(Path::new(traces::PINNED));
        self.kernel.publisher.retry(now);
        self.processes.prune(now);
        if self.kernel_code.list_wanted(now) {
            self.list_kernel_code();
        }
        self.kernel_code.expire(now);
        let left_out = self.kernel_code.take_left_out();
        self.losses.add(Degradation::KernelCodeFull, left_out);
        self.kernel.publisher.unload_idle(now);
        self.demand.prune(now);
        let publisher = &self.kernel.publisher;
        let processes = &self.processes;
        self.runtimes
            .prune(|file| publisher.has_table(file), |pid| processes.image(pid));
        self.looks.prune(|pid| processes.image(pid));
        let looks = &self.looks;
        self.enricher.prune(|pid, image| looks.knows(pid, image));
        self.breaths = 0;
        self.watch_memory();
        self.say_troubles();
    }

    /// Looks whether memory is short.
    fn watch_memory(&mut self) {
        let Some(limit) = &self.memory else {
            return;
        };
        let short = limit
            .used()
            .is_some_and(|used| Economy::is_short(limit.bytes, used, self.shortage.is_now()));
        if self.shortage.set(short) && short {
            self.losses.add(Degradation::MemoryShort, 1);
        }
        if short {
            give_memory_back();
        }
    }

    /// Says what does not work just now.
    pub(super) fn say_troubles(&mut self) {
        let mut sentences = self.cpus.troubles(&self.kernel.sampler, &self.sideband);
        sentences.extend(self.kernel.publisher.take_trouble());
        sentences.extend(self.kernel.traces.trouble().map(str::to_owned));
        sentences.extend(self.kernel.counters.trouble().map(str::to_owned));
        sentences.extend(self.waiting.clone());
        sentences.extend(self.without_off_cpu.clone());
        if let Some(limit) = self.memory.as_ref().filter(|_| self.shortage.is_now()) {
            sentences.push(format!(
                "memory is short: nearly all of the {} MiB that the control group may have is in use. Indices are not kept, and new \
                 names have no lines and no inlined calls. Raise the limit: the agent does all that it can with 256 MiB.",
                limit.bytes >> 20
            ));
        }
        self.gauges.troubles.are(sentences);
        let unsampled = self.cpus.unsampled(&self.kernel.sampler) as u64;
        self.gauges
            .cpus_unsampled
            .store(unsampled, Ordering::Relaxed);
    }
}
