//! /proc/PID/cgroup, and the container that a cgroup's path names: pure, and total over any bytes.
//!
//! ```text
//! 0::/system.slice/docker-<64 hex>.scope      v2: one line
//! 4:cpu,cpuacct:/docker/<64 hex>              v1: a line for each hierarchy
//! ```
//!
//! Both forms together are the hybrid layout. Recognized, innermost first:
//!
//! | runtime | cgroupfs driver | systemd driver |
//! |---|---|---|
//! | docker | `/docker/ID` | `docker-ID.scope` |
//! | containerd | `/kubepods/burstable/podUID/ID` | `cri-containerd-ID.scope`, `…slice:cri-containerd:ID` |
//! | CRI-O | `crio-ID` | `crio-ID.scope` |
//! | podman | `libpod-ID` | `libpod-ID.scope` |
//! | ECS | `/ecs/TASK/ID`, `TASK-NUMBER` | |

use super::text::lossy;
use crate::profile::ContainerId;

/// Where a process is accounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The path: v2's where it says something, else the first of v1 that does.
    pub path: Box<str>,
    /// The container that a path names.
    pub container: Option<ContainerId>,
    /// Is there the v2 hierarchy alone? Then a v2 cgroup id names this path and no other.
    pub unified: bool,
}

/// The cgroup that /proc/PID/cgroup tells of; `None` when no line has a path.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Cgroup> {
    let mut chosen: Option<&[u8]> = None;
    let mut container = None;
    let mut unified = true;
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (Some(hierarchy), Some(_), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let v2 = hierarchy == b"0";
        unified &= v2;
        let says_more = match chosen {
            None => true,
            Some(chosen) => path.len() > 1 && (v2 || chosen.len() <= 1),
        };
        if says_more {
            chosen = Some(path);
        }
        if container.is_none() || (v2 && path.len() > 1) {
            container = container_of(path).or(container);
        }
    }
    Some(Cgroup {
        path: lossy(chosen?),
        container,
        unified,
    })
}

/// The innermost container that a cgroup path names.
#[must_use]
pub fn container_of(path: &[u8]) -> Option<ContainerId> {
    path.rsplit(|byte| *byte == b'/').find_map(|component| {
        let component = component.strip_suffix(b".scope").unwrap_or(component);
        let component = component.rsplit(|byte| *byte == b':').next()?;
        let mut parts = component.rsplitn(2, |byte| *byte == b'-');
        let last = parts.next()?;
        let before = parts.next();
        let id = if hexadecimal(last, 64) && before.is_none_or(is_runtime) {
            last
        } else if before.is_some_and(|task| hexadecimal(task, 32))
            && !last.is_empty()
            && last.iter().all(u8::is_ascii_digit)
        {
            component
        } else {
            return None;
        };
        std::str::from_utf8(id)
            .ok()
            .map(|id| ContainerId(id.into()))
    })
}

/// Is this the prefix of a container's own scope? The monitor of a container has its id too.
fn is_runtime(prefix: &[u8]) -> bool {
    !prefix.ends_with(b"conmon")
}

fn hexadecimal(text: &[u8], length: usize) -> bool {
    text.len() == length
        && text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
