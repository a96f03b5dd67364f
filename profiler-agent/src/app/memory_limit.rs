//! The limit of memory that the agent runs under: that of its control group, or of one around it, whichever is the least
//! (Linux, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`).

use std::fs;
use std::path::{Path, PathBuf};

use super::economy::Economy;

/// A limit from here on is none: version 1 writes the largest number of pages.
const NO_LIMIT: u64 = 1 << 60;

/// The two versions' names of the same things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// Pages of files, which the kernel takes back before it kills.
    files: [&'static str; 2],
}

const FIRST: Names = Names {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};
const SECOND: Names = Names {
    limit: "memory.max",
    usage: "memory.current",
    files: ["inactive_file", "active_file"],
};

/// The group whose limit is the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes.
    pub(super) bytes: u64,
    group: PathBuf,
    names: Names,
}

impl MemoryLimit {
    /// The limit of this process, if there is one.
    pub(super) fn of_this_process() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let places = places(&groups, &mounts).into_iter();
        let limits = places.flat_map(|(mount, group, names)| {
            let inside = group.starts_with(&mount).then_some(group);
            let around: Vec<PathBuf> = inside
                .iter()
                .flat_map(|group| group.ancestors())
                .take_while(|group| group.starts_with(&mount))
                .map(Path::to_path_buf)
                .collect();
            around.into_iter().filter_map(move |group| {
                let text = fs::read_to_string(group.join(names.limit)).ok()?;
                let bytes = limit_of(&text)?;
                Some(Self {
                    bytes,
                    group,
                    names,
                })
            })
        });
        limits.min_by_key(|limit| limit.bytes)
    }

    /// Is memory short, or would it be with so many bytes more? Not where the kernel does not say.
    pub(super) fn is_short_with(&self, more: u64) -> bool {
        self.used()
            .is_some_and(|used| Economy::is_short(self.bytes, used.saturating_add(more), false))
    }

    /// Bytes in use that the kernel cannot take back.
    pub(super) fn used(&self) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(self.group.join(name)).ok();
        let usage: u64 = read(self.names.usage)?.trim().parse().ok()?;
        Some(usage.saturating_sub(files_of(&read("memory.stat")?, self.names)))
    }
}

fn limit_of(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < NO_LIMIT).then_some(bytes)
}

fn files_of(statistics: &str, names: Names) -> u64 {
    let lines = statistics.lines().filter_map(|line| line.split_once(' '));
    let files = lines.filter(|(name, _)| names.files.contains(name));
    files
        .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
        .sum()
}

/// Where each hierarchy with the controller of memory is mounted, and the process's group in it.
fn places(groups: &str, mounts: &str) -> Vec<(PathBuf, PathBuf, Names)> {
    let group = |wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            wanted(controllers).then_some(path)
        })
    };
    let memory = |text: &str| text.split(',').any(|word| word == "memory");
    let mut places = Vec::new();
    for line in mounts.lines() {
        let Some((fields, rest)) = line.split_once(" - ") else {
            continue;
        };
        let fields: Vec<&str> = fields.split(' ').collect();
        let rest: Vec<&str> = rest.split(' ').collect();
        let ([_, _, _, root, mount, ..], [kind, _, options, ..]) = (&*fields, &*rest) else {
            continue;
        };
        let (names, path) = match *kind {
            "cgroup2" => (SECOND, group(&str::is_empty)),
            "cgroup" if memory(options) => (FIRST, group(&memory)),
            _ => continue,
        };
        // In a namespace of its own both begin at its root; elsewhere the mount may begin further down.
        let below = path.and_then(|path| path.strip_prefix(root.trim_end_matches('/')));
        let mount = PathBuf::from(mount);
        let inside = below.unwrap_or_default().trim_start_matches('/');
        let group = if inside.is_empty() {
            mount.clone()
        } else {
            mount.join(inside)
        };
        places.push((mount, group, names));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, mounts: &str) -> Vec<(String, String, &'static str)> {
        let text = |path: PathBuf| path.display().to_string();
        let places = places(groups, mounts).into_iter();
        places
            .map(|(mount, group, names)| (text(mount), text(group), names.limit))
            .collect()
    }

    #[test]
    fn the_group_is_found_in_both_versions() {
        let second =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            found("0::/system.slice/profiler-agent.service\n", second),
            [(
                "/sys/fs/cgroup".to_owned(),
                "/sys/fs/cgroup/system.slice/profiler-agent.service".to_owned(),
                "memory.max"
            )]
        );
        let first = "31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(
            found("9:memory:/a/b\n3:cpu,cpuacct:/\n", first),
            [(
                "/sys/fs/cgroup/memory".to_owned(),
                "/sys/fs/cgroup/memory/a/b".to_owned(),
                "memory.limit_in_bytes"
            )]
        );
    }

    #[test]
    fn a_container_s_mount_begins_at_its_group() {
        let mounts = "31 23 0:27 /docker/f00 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(
            found("9:memory:/docker/f00\n", mounts)[0].1,
            "/sys/fs/cgroup/memory"
        );
    }

    #[test]
    fn limits_and_pages_of_files_are_read() {
        assert_eq!(limit_of("67108864\n"), Some(64 << 20));
        assert_eq!(limit_of("max\n"), None);
        assert_eq!(limit_of("9223372036854771712\n"), None);
        let statistics = "anon 5\ninactive_file 100\nactive_file 20\ninactive_anon 7\n";
        assert_eq!(files_of(statistics, SECOND), 120);
        assert_eq!(files_of(statistics, FIRST), 0);
    }
}
