//! Asks the kernel for side-band records of one CPU.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use perf_event_open_sys::bindings::{
    PERF_COUNT_SW_DUMMY, PERF_FLAG_FD_CLOEXEC, PERF_SAMPLE_CPU, PERF_SAMPLE_TID, PERF_SAMPLE_TIME,
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
    if *records == MappingRecords::BuildId {
        match request(cpu, true) {
            // A kernel that does not know the bit refuses the attribute as a whole.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINVAL | libc::E2BIG | libc::EOPNOTSUPP)
                ) => {}
            other => return other,
        }
    }
    let opened = request(cpu, false)?;
    *records = MappingRecords::Inode;
    Ok(opened)
}

fn request(cpu: u32, build_id: bool) -> io::Result<OwnedFd> {
    let mut attr = perf_event_attr::default();
    attr.size = size_of::<perf_event_attr>() as u32;
    attr.type_ = PERF_TYPE_SOFTWARE;
    attr.config = u64::from(PERF_COUNT_SW_DUMMY);
    attr.sample_type = u64::from(PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU);
    attr.clockid = libc::CLOCK_BOOTTIME;
    attr.set_comm(1);
    attr.set_comm_exec(1);
    attr.set_task(1);
    attr.set_mmap(1);
    attr.set_mmap2(1);
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
