//! Which CPUs there are, and an event for each that is online.
//!
//! - [`plan`] decides for which CPU an event is opened, looked at and closed; [`per_cpu`] does it.
//! - [`follow`] does it for the sampling events and the side-band together.

pub mod follow;
pub mod per_cpu;
pub mod plan;
mod sentence;

use std::collections::BTreeSet;
use std::io;

pub use follow::CpuFollower;
pub use per_cpu::{CpuEvent, Followed, NotOpened, PerCpu, Reason};

/// CPUs that are online now, by logical number.
pub fn online() -> io::Result<BTreeSet<u32>> {
    read("/sys/devices/system/cpu/online")
}

/// Number of CPUs that can ever be online: 1 + the highest possible number.
pub fn possible() -> io::Result<u32> {
    Ok(read("/sys/devices/system/cpu/possible")?
        .last()
        .map_or(1, |last| last + 1))
}

fn read(path: &str) -> io::Result<BTreeSet<u32>> {
    let text = std::fs::read_to_string(path)?;
    parse(text.trim()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, path.to_owned()))
}

/// Parses a list such as `0-3,8,10-11` (`Documentation/admin-guide/cputopology.rst`).
fn parse(list: &str) -> Option<BTreeSet<u32>> {
    const MAX_CPUS: u32 = 1 << 16;
    let mut cpus = BTreeSet::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed() {
        assert_eq!(parse("0-1"), Some([0, 1].into()));
        assert_eq!(parse("0,3-5,9"), Some([0, 3, 4, 5, 9].into()));
        assert_eq!(parse(""), Some([].into()));
        assert_eq!(parse("0-x"), None);
        assert_eq!(parse("0-4294967295"), None);
    }

    #[test]
    fn the_machine_has_the_cpus_that_the_standard_library_counts() {
        let online = online().unwrap();
        assert!(online.len() >= std::thread::available_parallelism().unwrap().get());
        assert!(possible().unwrap() > *online.last().unwrap());
    }
}
