//! A share of a CPU that a process is given, by a cgroup of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// Microseconds that a share is of.
const PERIOD: u64 = 100_000;

/// A cgroup with a quota; what is in it goes back to where it may run freely when this is dropped.
#[derive(Debug)]
pub struct CpuQuota {
    group: PathBuf,
    parent: PathBuf,
}

impl CpuQuota {
    /// Gives a process and its threads this many percent of one CPU.
    ///
    /// # Panics
    ///
    /// When the host has neither version of cgroups with the controller `cpu`, or does not let it be used.
    #[must_use]
    pub fn of(pid: u32, percent: u64) -> Self {
        let name = format!("profiler-tests-{}-{pid}", std::process::id());
        let quota = PERIOD * percent / 100;
        let (first, unified) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let (parent, settings) = if first.is_dir() {
            let settings = vec![
                ("cpu.cfs_period_us", PERIOD.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ];
            (first, settings)
        } else {
            // It may be passed on already.
            let _passed_on = fs::write(unified.join("cgroup.subtree_control"), "+cpu");
            (unified, vec![("cpu.max", format!("{quota} {PERIOD}"))])
        };
        let group = parent.join(name);
        fs::create_dir(&group).expect("root makes a cgroup");
        let quota = Self {
            group,
            parent: parent.to_owned(),
        };
        for (file, value) in settings {
            fs::write(quota.group.join(file), value).expect("the controller `cpu`");
        }
        fs::write(quota.group.join("cgroup.procs"), pid.to_string()).expect("the process runs");
        quota
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        let processes = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines() {
            // One that has ended is in no cgroup.
            let _gone = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        let _busy = fs::remove_dir(&self.group);
    }
}
