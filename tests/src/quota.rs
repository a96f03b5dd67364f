//! What a process is given of a CPU and of memory, by a cgroup of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Microseconds that a share is of.
const PERIOD: u64 = 100_000;

/// Groups that were made.
static GROUPS: AtomicU32 = AtomicU32::new(0);

/// A cgroup; what is in it goes back to where it may run freely when this is dropped.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    parent: PathBuf,
}

impl Group {
    /// One with these settings of a controller: of version 1, or of version 2.
    fn new(controller: &str, first: &[(&str, String)], second: &[(&str, String)]) -> Self {
        let unified = Path::new("/sys/fs/cgroup");
        let own = unified.join(controller);
        let (parent, settings) = if own.is_dir() {
            (own, first)
        } else {
            // It may be passed on already.
            let _passed_on = fs::write(
                unified.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
            (unified.to_owned(), second)
        };
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("profiler-tests-{}-{number}", std::process::id());
        let path = parent.join(name);
        fs::create_dir(&path).expect("root makes a cgroup");
        let group = Self { path, parent };
        for (file, value) in settings {
            let written = fs::write(group.path.join(file), value);
            written.unwrap_or_else(|error| panic!("the controller `{controller}`: {error}"));
        }
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let processes = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines() {
            // One that has ended is in no cgroup.
            let _gone = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        let _busy = fs::remove_dir(&self.path);
    }
}

/// A share of a CPU.
#[derive(Debug)]
pub struct CpuQuota(Group);

impl CpuQuota {
    /// Gives a process and its threads this many percent of one CPU.
    ///
    /// # Panics
    ///
    /// When the host has neither version of cgroups with the controller `cpu`, or does not let it be used.
    #[must_use]
    pub fn of(pid: u32, percent: u64) -> Self {
        let quota = PERIOD * percent / 100;
        let group = Group::new(
            "cpu",
            &[
                ("cpu.cfs_period_us", PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
            &[("cpu.max", format!("{quota} {PERIOD}"))],
        );
        fs::write(group.path.join("cgroup.procs"), pid.to_string()).expect("the process runs");
        Self(group)
    }

    /// Periods, of 100 ms each, in which it was made to wait because it had used its share up.
    ///
    /// # Panics
    ///
    /// When the kernel does not say.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        let path = self.0.path.join("cpu.stat");
        let statistics = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}"));
        let count = statistics
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        let count = count.and_then(|count| count.parse().ok());
        count.unwrap_or_else(|| panic!("{}: {statistics}", path.display()))
    }
}

/// So much memory, and the kernel's work for it.
#[derive(Debug)]
pub struct MemoryQuota(Group);

impl MemoryQuota {
    /// Of so many bytes.
    ///
    /// # Panics
    ///
    /// When the host has neither version of cgroups with the controller `memory`, or does not let it be used.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self(Group::new(
            "memory",
            &[("memory.limit_in_bytes", bytes.to_string())],
            &[
                ("memory.max", bytes.to_string()),
                ("memory.swap.max", "0".to_owned()),
            ],
        ))
    }

    /// What starts a program under it: the program follows as an argument.
    #[must_use]
    pub fn command(&self) -> Command {
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&self.0.path);
        command
    }
}
