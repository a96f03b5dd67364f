//! What is known of a file without asking its file system.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Statx, StatxFlags, statx};

/// File systems that the kernel itself answers for, of memory or of its own disks. One on a block device is one too.
const LOCAL: [&str; 11] = [
    "bcachefs", "btrfs", "erofs", "overlay", "ramfs", "rootfs", "squashfs", "tmpfs", "ubifs",
    "zfs", "devtmpfs",
];

/// Attributes of an open file, as they are known: a file system in user space or in the network is not asked
/// (`AT_STATX_DONT_SYNC`), and does not hold up the caller.
///
/// # Errors
/// What `statx(2)` says.
pub fn attributes(file: impl AsFd) -> std::io::Result<Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(statx(file, c"", flags, StatxFlags::BASIC_STATS)?)
}

/// Does the kernel itself answer for the file system of this file?
pub fn is_local(file: impl AsFd) -> bool {
    attributes(file).is_ok_and(|file| is_local_device(None, file.stx_dev_major, file.stx_dev_minor))
}

/// Does the kernel itself answer for the file system with this device? Those without a block device are found among the
/// mounts of the process that has mapped a file of it, or among the agent's own.
#[must_use]
pub fn is_local_device(pid: Option<u32>, major: u32, minor: u32) -> bool {
    if major != 0 {
        return true;
    }
    let of_process = pid.map(|pid| format!("/proc/{pid}/mountinfo"));
    let lists = of_process.as_deref().into_iter();
    lists
        .chain(["/proc/1/mountinfo", "/proc/self/mountinfo"])
        .any(|list| {
            std::fs::read_to_string(list).is_ok_and(|mounts| is_local_mount(&mounts, major, minor))
        })
}

fn is_local_mount(mounts: &str, major: u32, minor: u32) -> bool {
    let device = format!("{major}:{minor}");
    mounts.lines().any(|line| {
        // Id, parent, device, root, mount point, options, optional fields, a hyphen, type (proc(5)).
        line.split(' ').nth(2) == Some(&device)
            && line
                .split_once(" - ")
                .and_then(|(_, rest)| rest.split(' ').next())
                .is_some_and(|kind| LOCAL.contains(&kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_mount_decides() {
        let mounts = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
                      40 35 0:50 / /home/u/m rw,nosuid - fuse.sshfs host:/ rw\n\
                      41 35 0:51 / /var/lib/x rw - overlay overlay rw\n\
                      42 35 0:52 / /n rw shared:3 - nfs4 server:/ rw\n";
        assert!(is_local_device(None, 98, 0));
        assert!(is_local_mount(mounts, 0, 51));
        assert!(!is_local_mount(mounts, 0, 50));
        assert!(!is_local_mount(mounts, 0, 52));
        assert!(!is_local_mount(mounts, 0, 5));
    }

    #[test]
    fn a_file_s_attributes_are_those_of_fstat() {
        let file = tempfile::tempfile().unwrap();
        let (known, asked) = (
            attributes(&file).unwrap(),
            rustix::fs::fstat(&file).unwrap(),
        );
        assert_eq!((known.stx_ino, known.stx_size), (asked.st_ino, 0));
        assert_eq!(
            (known.stx_dev_major, known.stx_dev_minor),
            (
                rustix::fs::major(asked.st_dev),
                rustix::fs::minor(asked.st_dev)
            )
        );
    }
}
