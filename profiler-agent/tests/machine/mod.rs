//! Side-band and process table on the running machine, and what other tools say of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "each test program uses its part")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use profiler_agent::collect::sideband::Sideband;
use profiler_agent::collect::sideband::open::MappingRecords;
use profiler_agent::process::{Limits, ProcFs, ProcessTable};
use profiler_agent::profile::{BootTime, ProcessEvent};
use rustix::event::{PollFd, PollFlags, poll};

pub fn online_cpus() -> BTreeSet<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    text.trim()
        .split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().unwrap()..=last.parse().unwrap()
        })
        .collect()
}

pub fn now() -> BootTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    BootTime(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

pub struct Agent {
    pub sideband: Sideband,
    pub table: ProcessTable<ProcFs>,
}

impl Agent {
    pub fn start() -> Self {
        Self::start_with(MappingRecords::BuildId)
    }
    /// As on a kernel whose records say no more than that.
    pub fn start_with(records: MappingRecords) -> Self {
        let sideband = Sideband::open_with(&online_cpus(), records).unwrap();
        let mut table = ProcessTable::new(ProcFs::new(Limits::default()));
        table.scan(now());
        Self { sideband, table }
    }
    /// Waits for records and applies them until `done`.
    pub fn run_until(
        &mut self,
        mut done: impl FnMut(&mut ProcessTable<ProcFs>, &ProcessEvent) -> bool,
    ) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut events = Vec::new();
        loop {
            let mut finished = false;
            self.sideband.drain(&mut events);
            for event in events.drain(..) {
                self.table.apply(&event);
                finished |= done(&mut self.table, &event);
            }
            if finished {
                return;
            }
            assert!(Instant::now() < deadline, "the side-band did not tell");
            let mut fds: Vec<PollFd<'_>> = self
                .sideband
                .fds()
                .map(|(_, fd)| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let timeout = rustix::event::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            poll(&mut fds, Some(&timeout)).unwrap();
        }
    }
}

/// What `readelf -n` says the build id of `path` is.
pub fn build_id(path: &Path) -> Option<String> {
    let output = Command::new("readelf")
        .arg("-n")
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .find_map(|line| Some(line.trim().strip_prefix("Build ID: ")?.to_owned()))
}
