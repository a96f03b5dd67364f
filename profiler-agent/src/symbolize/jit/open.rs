//! Finds the perf map of a process: in its own root, under its pid in its own namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::confine;
use crate::profile::{BootTime, ProcessKey};

/// Clock ticks of `/proc/PID/stat` are this long (USER_HZ is 100 on every architecture we run on).
const TICK: Duration = Duration::from_millis(10);

/// Opens `/tmp/perf-PID.map` of a living process.
///
/// # Errors
/// `NotFound` when there is none or the process is gone; `PermissionDenied` when the file belongs
/// neither to the process's user nor to root: somebody else wants to name its code; or when that user may not read it.
/// A symbolic link is not followed: it would lead to a file of somebody else's choice.
pub(super) fn perf_map(process: ProcessKey) -> io::Result<File> {
    let gone = |_| io::Error::from(io::ErrorKind::NotFound);
    let pid = process.pid;
    let root = confine::process_root(pid).map_err(gone)?;
    let own_pid = confine::namespaced_pid(pid).map_err(gone)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone)?;
    let user = effective_user(&status).unwrap_or(0);
    // Read last: root, pid and user were those of a process that started no later.
    let stat = fs::read(format!("/proc/{pid}/stat")).map_err(gone)?;
    let start = start_of(&String::from_utf8_lossy(&stat));
    if !start.is_some_and(|start| not_after(start, process)) {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    let path = PathBuf::from(format!("tmp/perf-{own_pid}.map"));
    let opened = confine::open_in_root_itself(root.as_fd(), &path)?;
    if !may_name(opened.stat.st_uid, opened.stat.st_mode, user) {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    Ok(opened.file)
}

/// May a file with this owner and these permissions name the code of a process of `user`'s? It must come from that user or
/// from root, and what the agent shows of it must be what that user may read: the agent reads more.
const fn may_name(owner: u32, mode: u32, user: u32) -> bool {
    /// `S_IROTH`.
    const READ_BY_OTHERS: u32 = 0o004;
    owner == user || (owner == 0 && mode & READ_BY_OTHERS != 0)
}

/// The effective user, of `/proc/PID/status`.
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// When the process started, of `/proc/PID/stat` (field 22).
fn start_of(stat: &str) -> Option<BootTime> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(BootTime(ticks.saturating_mul(TICK.as_nanos() as u64)))
}

/// A process that started after the image did is another one with the same pid.
fn not_after(start: BootTime, process: ProcessKey) -> bool {
    start <= process.started.plus(2 * TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_roots_names_code_only_where_everybody_may_read_it() {
        assert!(may_name(1000, 0o600, 1000));
        assert!(may_name(0, 0o644, 1000));
        assert!(may_name(0, 0o600, 0));
        assert!(!may_name(0, 0o600, 1000));
        assert!(!may_name(0, 0o640, 1000));
        assert!(!may_name(1001, 0o644, 1000));
    }

    #[test]
    fn the_second_of_the_users_is_the_effective_one() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1000\t1000\n";
        assert_eq!(effective_user(status), Some(1001));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn a_comm_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("1 (a) b (c)) {}", fields.join(" "));
        assert_eq!(start_of(&stat), Some(BootTime(22 * 10_000_000)));
    }

    #[test]
    fn a_later_process_with_the_pid_is_not_the_one() {
        let me = ProcessKey {
            pid: std::process::id(),
            started: BootTime(0),
        };
        let error = perf_map(me).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
