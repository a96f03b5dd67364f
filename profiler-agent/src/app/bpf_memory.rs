//! The memory of the BPF objects that this process holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use crate::profile::BootTime;

/// How long a result serves: the agent may have thousands of descriptors open.
const SERVES: Duration = Duration::from_secs(60);

/// Looks when it is asked, but not too often.
#[derive(Default)]
pub(super) struct BpfMemory(Mutex<Option<(BootTime, u64)>>);

impl BpfMemory {
    /// Bytes of maps and programs.
    pub(super) fn bytes(&self) -> u64 {
        let mut looked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::boot_now();
        match *looked {
            Some((at, bytes)) if now.since(at) < SERVES => bytes,
            _ => {
                let bytes = sum(Path::new("/proc/self"));
                *looked = Some((now, bytes));
                bytes
            }
        }
    }
}

/// What the descriptors below this directory of a process say; each object once.
fn sum(process: &Path) -> u64 {
    let mut objects = BTreeMap::new();
    let descriptors = std::fs::read_dir(process.join("fd"));
    for entry in descriptors.into_iter().flatten().flatten() {
        let is_bpf = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("anon_inode:bpf"));
        if !is_bpf {
            continue;
        }
        let info = process.join("fdinfo").join(entry.file_name());
        // A descriptor may be closed while the list is read.
        if let Ok(text) = std::fs::read_to_string(info)
            && let Some((object, bytes)) = object(&text)
        {
            objects.insert(object, bytes);
        }
    }
    objects.values().sum()
}

/// Kind and id of an object, and its memory.
fn object(info: &str) -> Option<((&'static str, u64), u64)> {
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    let id = ["map_id:", "prog_id:"]
        .into_iter()
        .find_map(|kind| Some((kind, field(kind)?)))?;
    Some((id, field("memlock:")?))
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn objects_are_told_apart_by_kind_and_id() {
        let map =
            "pos:\t0\nflags:\t02000002\nmap_type:\t27\nmemlock:\t1052672\nmap_id:\t7\nfrozen:\t0\n";
        assert_eq!(object(map), Some((("map_id:", 7), 1_052_672)));
        let program = "prog_type:\t7\nmemlock:\t4096\nprog_id:\t7\nrun_cnt:\t0\n";
        assert_eq!(object(program), Some((("prog_id:", 7), 4096)));
        assert_eq!(object("pos:\t0\nflags:\t02\n"), None);
    }
}
