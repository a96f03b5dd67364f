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
    /// The v2 cgroup id of the path; 0 where it is not known. Not in the text: whoever read the text
    /// looks at the directory.
    pub id: u64,
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
        id: 0,
    })
}

/// The innermost container that a cgroup path names.
#[must_use]
fn container_of(path: &[u8]) -> Option<ContainerId> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{container_of, parse};

    const ID: &str = "4f1b8d8e1f0a3c5d7e9b2a4c6d8f0e1a3b5c7d9e0f2a4b6c8d0e1f3a5b7c9d0e";

    fn container(path: &str) -> Option<String> {
        container_of(path.as_bytes()).map(|id| id.0.into())
    }

    #[test]
    fn every_runtime_and_driver() {
        let pod = "kubepods-burstable-pod0b1c2d3e_4f50_6172_8394_a5b6c7d8e9f0.slice";
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods/burstable/pod0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/{ID}"),
            format!("/kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{ID}.scope"),
            format!("/system.slice/containerd.service/{pod}:cri-containerd:{ID}"),
            format!("/kubepods.slice/{pod}/crio-{ID}.scope"),
            format!("/kubepods/besteffort/podX/crio-{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
            format!("/ecs/0123456789abcdef0123456789abcdef/{ID}"),
            // The agent's own cgroup namespace may lie below its root.
            format!("/../../podX/{ID}"),
            format!("/docker/{ID}/system.slice/ssh.service"),
        ] {
            assert_eq!(container(&path).as_deref(), Some(ID), "{path}");
        }
        let task = "0123456789abcdef0123456789abcdef-1234567890";
        assert_eq!(container(&format!("/ecs/{task}")).as_deref(), Some(task));
    }

    #[test]
    fn the_innermost_container_counts() {
        let inner = ID.replace('4', "a");
        let path = format!("/docker/{ID}/docker/{inner}");
        assert_eq!(container(&path).as_deref(), Some(&*inner));
    }

    #[test]
    fn what_is_no_container() {
        for path in [
            "/".to_owned(),
            "/system.slice/ssh.service".to_owned(),
            "/user.slice/user-1000.slice/session-2.scope".to_owned(),
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/kubepods.slice/crio-conmon-{ID}.scope"),
            format!("/docker/{}", &ID[1..]),
            format!("/docker/{ID}0"),
            format!("/docker/{}", ID.to_uppercase()),
        ] {
            assert_eq!(container(&path), None, "{path}");
        }
    }

    #[test]
    fn layouts() {
        let unified = parse(format!("0::/system.slice/docker-{ID}.scope\n").as_bytes()).unwrap();
        assert!(unified.unified);
        assert_eq!(&*unified.path, format!("/system.slice/docker-{ID}.scope"));
        assert_eq!(&*unified.container.unwrap().0, ID);

        let legacy =
            format!("12:pids:/docker/{ID}\n11:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/\n");
        let legacy = parse(legacy.as_bytes()).unwrap();
        assert!(!legacy.unified);
        assert_eq!(&*legacy.path, format!("/docker/{ID}"));
        assert_eq!(&*legacy.container.unwrap().0, ID);

        let hybrid = format!("4:memory:/docker/{ID}\n1:name=systemd:/\n0::/\n");
        let hybrid = parse(hybrid.as_bytes()).unwrap();
        assert!(!hybrid.unified);
        assert_eq!(&*hybrid.path, format!("/docker/{ID}"));

        let hybrid = b"4:memory:/\n0::/init.scope\n";
        assert_eq!(&*parse(hybrid).unwrap().path, "/init.scope");
        assert_eq!(&*parse(b"0::/\n").unwrap().path, "/");
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"garbage\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            drop(parse(&bytes));
        }
        #[test]
        fn any_path(path in "[/:.0-9a-f-]{0,200}(scope)?") {
            if let Some(id) = container_of(path.as_bytes()) {
                prop_assert!(path.contains(&*id.0));
            }
        }
    }
}
