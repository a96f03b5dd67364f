//! Asks the kernel for side-band records of one CPU.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use perf_event_open_sys::bindings::{
    PERF_ATTR_SIZE_VER3, PERF_COUNT_SW_DUMMY, PERF_FLAG_FD_CLOEXEC, PERF_FORMAT_TOTAL_TIME_ENABLED,
    PERF_FORMAT_TOTAL_TIME_RUNNING, PERF_SAMPLE_CPU, PERF_SAMPLE_TID, PERF_SAMPLE_TIME,
    PERF_TYPE_SOFTWARE, perf_event_attr,
};

/// What the running kernel can put into a mapping record; found by asking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingRecords {
    /// The build id where the file has one (and its note is in memory), else device and inode.
    BuildId,
    /// Always device and inode.
    Inode,
}

/// Opens the side-band of `cpu`, with build ids unless `records` says that the kernel refused them
/// before; `records` is updated by what the kernel takes.
///
/// # Errors
/// What `perf_event_open(2)` gives: `EACCES`/`EPERM` without the privilege, `ENODEV` for a CPU that
/// is offline.
pub fn open(cpu: u32, records: &mut MappingRecords) -> io::Result<OwnedFd> {
    with_what_is_there(records, |build_id| request(cpu, build_id))
}

fn with_what_is_there<T>(
    records: &mut MappingRecords,
    mut request: impl FnMut(bool) -> io::Result<T>,
) -> io::Result<T> {
    if *records == MappingRecords::BuildId {
        match request(true) {
            // A kernel that does not know the bit refuses the attribute as a whole.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP)
                ) => {}
            other => return other,
        }
    }
    let opened = request(false)?;
    *records = MappingRecords::Inode;
    Ok(opened)
}

fn request(cpu: u32, build_id: bool) -> io::Result<OwnedFd> {
    let mut attr = perf_event_attr::default();
    // Up to `clockid`, the last that is used: a kernel with a shorter structure takes it too.
    attr.size = PERF_ATTR_SIZE_VER3;
    attr.type_ = PERF_TYPE_SOFTWARE;
    attr.config = u64::from(PERF_COUNT_SW_DUMMY);
    attr.sample_type = u64::from(PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU);
    // `time_enabled` shows whether the event is alive (`collect/cpus/plan.rs`).
    attr.read_format = u64::from(PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING);
    attr.clockid = libc::CLOCK_BOOTTIME;
    attr.set_comm(1);
    attr.set_comm_exec(1);
    attr.set_task(1);
    attr.set_mmap(1);
    attr.set_mmap2(1);
    attr.set_ksymbol(1);
    attr.set_build_id(u64::from(build_id));
    attr.set_sample_id_all(1);
    attr.set_use_clockid(1);
    // One byte is behind the watermark as soon as there is a record: the reader is woken at once.
    attr.set_watermark(1);
    attr.wakeup_watermark = 1;
    let cpu = i32::try_from(cpu).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `attr` is a whole perf_event_attr whose `size` is its own, and outlives the call.
    let fd = unsafe {
        perf_event_open_sys::perf_event_open(
            &raw mut attr,
            -1,
            cpu,
            -1,
            PERF_FLAG_FD_CLOEXEC.into(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_with(answers: [Option<i32>; 2], records: &mut MappingRecords) -> Result<bool, i32> {
        let opened = with_what_is_there(records, |build_id| {
            let answer = answers[usize::from(!build_id)];
            answer.map_or(Ok(build_id), |error| {
                Err(io::Error::from_raw_os_error(error))
            })
        });
        opened.map_err(|error| error.raw_os_error().unwrap_or(0))
    }

    #[test]
    fn build_ids_are_asked_for_until_they_are_refused() {
        let mut records = MappingRecords::BuildId;
        assert_eq!(open_with([None, None], &mut records), Ok(true));
        assert_eq!(records, MappingRecords::BuildId);
        for refusal in [libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP] {
            let mut records = MappingRecords::BuildId;
            assert_eq!(open_with([Some(refusal), None], &mut records), Ok(false));
            assert_eq!(records, MappingRecords::Inode);
            assert_eq!(open_with([None, None], &mut records), Ok(false));
        }
    }

    #[test]
    fn what_has_nothing_to_do_with_build_ids_is_no_reason_to_go_without() {
        for error in [libc::ENODEV, libc::EMFILE, libc::EACCES, libc::ENOMEM] {
            let mut records = MappingRecords::BuildId;
            assert_eq!(open_with([Some(error), None], &mut records), Err(error));
            assert_eq!(records, MappingRecords::BuildId);
        }
        // It is refused both ways: not because of the build ids.
        let mut records = MappingRecords::BuildId;
        let both = [Some(libc::EINVAL), Some(libc::EINVAL)];
        assert_eq!(open_with(both, &mut records), Err(libc::EINVAL));
        assert_eq!(records, MappingRecords::BuildId);
    }
}
