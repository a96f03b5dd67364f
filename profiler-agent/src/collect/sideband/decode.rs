//! One side-band record to one event: pure, and total over any bytes.
//!
//! Layout (`include/uapi/linux/perf_event.h`, `enum perf_event_type`), native byte order:
//!
//! ```text
//! header      type u32, misc u16, size u16 (whole record, a multiple of 8)
//! LOST     2  id u64, lost u64
//! COMM     3  pid u32, tid u32, comm NUL-terminated and padded to 8
//! EXIT     4  pid u32, ppid u32, tid u32, ptid u32, time u64
//! FORK     7  as EXIT
//! MMAP2   10  pid u32, tid u32, addr u64, len u64, pgoff u64, file[24], prot u32, flags u32,
//!             path NUL-terminated and padded to 8
//!   file      major u32, minor u32, inode u64, generation u64; or with `MISC_MMAP_BUILD_ID`:
//!             length u8, reserved [u8; 3], build id [u8; 20]
//! KSYMBOL 17  addr u64, len u32, type u16, flags u16, symbol NUL-terminated and padded to 8
//! sample id   pid u32, tid u32, time u64, cpu u32, reserved u32 (the tail of every record)
//! ```
//!
//! The tail is what `PERF_SAMPLE_TID | TIME | CPU` with `sample_id_all` asks for.

use crate::profile::{
    BootTime, BuildId, FileIdentity, FileOffset, KernelAddress, KernelCodeKind, ProcessEvent,
    ProcessEventKind, ThreadName, VirtualAddress,
};

/// Longest path that is kept; a longer one is cut.
pub const MAX_PATH_BYTES: usize = 4096;
/// Longest symbol that is kept (`KSYM_NAME_LEN`); a longer one is cut.
const MAX_SYMBOL_BYTES: usize = 512;

const HEADER_BYTES: usize = 8;
const SAMPLE_ID_BYTES: usize = 24;

const RECORD_LOST: u32 = 2;
const RECORD_COMM: u32 = 3;
const RECORD_EXIT: u32 = 4;
const RECORD_FORK: u32 = 7;
const RECORD_MMAP2: u32 = 10;
const RECORD_KSYMBOL: u32 = 17;

const MISC_COMM_EXEC: u16 = 1 << 13;
const MISC_MMAP_DATA: u16 = 1 << 13;
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;

const PROT_EXEC: u32 = 4;

/// `PERF_RECORD_KSYMBOL_TYPE_BPF`; others are trampolines.
const KSYMBOL_BPF: u16 = 1;
const KSYMBOL_UNREGISTER: u16 = 1;

/// Why a record is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The record ends before its fields do.
    #[error("record of type {0} is too short")]
    Short(u32),
    /// The size in the header is not the record's.
    #[error("record size {0} is impossible")]
    Size(u16),
    /// A mapping or a symbol that wraps around the address space, or is empty.
    #[error("mapping or symbol has an impossible range")]
    Range,
}

/// The event that `record` (header included) tells of; `None` for a kind of record that tells of
/// none.
///
/// # Errors
/// When the bytes are no whole record.
pub fn decode(record: &[u8]) -> Result<Option<ProcessEvent>, Malformed> {
    let mut fields = Fields(record);
    let short = Malformed::Short(0);
    let kind = fields.u32().ok_or(short)?;
    let misc = fields.u16().ok_or(short)?;
    let size = fields.u16().ok_or(short)?;
    if usize::from(size) != record.len() {
        return Err(Malformed::Size(size));
    }
    if !matches!(
        kind,
        RECORD_LOST | RECORD_COMM | RECORD_EXIT | RECORD_FORK | RECORD_MMAP2 | RECORD_KSYMBOL
    ) {
        return Ok(None);
    }
    let short = Malformed::Short(kind);
    let body = record
        .len()
        .checked_sub(SAMPLE_ID_BYTES)
        .filter(|end| *end >= HEADER_BYTES)
        .ok_or(short)?;
    let mut tail = Fields(&record[body..]);
    let time = tail.skip(8).and_then(Fields::u64).ok_or(short)?;
    let mut body = Fields(&record[HEADER_BYTES..body]);
    let event = match kind {
        RECORD_LOST => lost(&mut body, BootTime(time)),
        RECORD_COMM => comm(&mut body, misc & MISC_COMM_EXEC != 0),
        RECORD_KSYMBOL => Some(kernel_symbol(&mut body)?),
        RECORD_EXIT | RECORD_FORK => task(&mut body, kind == RECORD_FORK),
        _ => return mapping(&mut body, misc, BootTime(time)),
    };
    Ok(Some(ProcessEvent {
        time: BootTime(time),
        kind: event.ok_or(short)?,
    }))
}

/// What was lost came between the record before this one, which only the reader of the ring knows, and its own time.
fn lost(body: &mut Fields<'_>, time: BootTime) -> Option<ProcessEventKind> {
    let records = body.skip(8)?.u64()?;
    Some(ProcessEventKind::Lost {
        records,
        since: time,
    })
}

fn comm(body: &mut Fields<'_>, exec: bool) -> Option<ProcessEventKind> {
    let (pid, tid) = (body.u32()?, body.u32()?);
    let mut name = ThreadName::default();
    // At most 15 bytes count: the last byte stays the terminator whatever the record says.
    for (kept, byte) in name.0[..15].iter_mut().zip(body.text()) {
        *kept = *byte;
    }
    Some(if exec {
        ProcessEventKind::Exec { pid, name }
    } else {
        ProcessEventKind::Rename { pid, tid, name }
    })
}

fn task(body: &mut Fields<'_>, fork: bool) -> Option<ProcessEventKind> {
    let (pid, parent_pid, tid) = (body.u32()?, body.u32()?, body.u32()?);
    // ptid and time: the tail has the time too.
    body.skip(12)?;
    Some(if fork {
        ProcessEventKind::Fork {
            pid,
            tid,
            parent_pid,
        }
    } else {
        ProcessEventKind::Exit { pid, tid }
    })
}

fn kernel_symbol(body: &mut Fields<'_>) -> Result<ProcessEventKind, Malformed> {
    let short = Malformed::Short(RECORD_KSYMBOL);
    let start = body.u64().ok_or(short)?;
    let length = body.u32().ok_or(short)?;
    let kind = body.u16().ok_or(short)?;
    let flags = body.u16().ok_or(short)?;
    let end = start
        .checked_add(u64::from(length))
        .filter(|end| *end > start)
        .ok_or(Malformed::Range)?;
    let range = KernelAddress(start)..KernelAddress(end);
    if flags & KSYMBOL_UNREGISTER != 0 {
        return Ok(ProcessEventKind::KernelCodeWent { range });
    }
    let name = body.text();
    let name = &name[..name.len().min(MAX_SYMBOL_BYTES)];
    Ok(ProcessEventKind::KernelCodeCame {
        range,
        kind: if kind == KSYMBOL_BPF {
            KernelCodeKind::Bpf
        } else {
            KernelCodeKind::Trampoline
        },
        name: String::from_utf8_lossy(name).into(),
    })
}

fn mapping(
    body: &mut Fields<'_>,
    misc: u16,
    time: BootTime,
) -> Result<Option<ProcessEvent>, Malformed> {
    let short = Malformed::Short(RECORD_MMAP2);
    let pid = body.u32().ok_or(short)?;
    body.skip(4).ok_or(short)?;
    let start = body.u64().ok_or(short)?;
    let length = body.u64().ok_or(short)?;
    let offset = body.u64().ok_or(short)?;
    let identity = if misc & MISC_MMAP_BUILD_ID != 0 {
        let length = usize::from(body.take::<1>().ok_or(short)?[0]);
        body.skip(3).ok_or(short)?;
        let bytes = body.take::<20>().ok_or(short)?;
        BuildId::new(&bytes[..length.min(20)]).map(FileIdentity::BuildId)
    } else {
        Some(FileIdentity::Inode {
            major: body.u32().ok_or(short)?,
            minor: body.u32().ok_or(short)?,
            inode: body.u64().ok_or(short)?,
            generation: body.u64().ok_or(short)?,
        })
    };
    // An all-zero build id names nothing: like a file of which nothing is known.
    let identity = identity.unwrap_or(FileIdentity::Inode {
        major: 0,
        minor: 0,
        inode: 0,
        generation: 0,
    });
    let protection = body.u32().ok_or(short)?;
    body.skip(4).ok_or(short)?;
    if misc & MISC_MMAP_DATA != 0 || protection & PROT_EXEC == 0 {
        return Ok(None);
    }
    let end = start
        .checked_add(length)
        .filter(|end| *end > start)
        .ok_or(Malformed::Range)?;
    let path = body.text();
    Ok(Some(ProcessEvent {
        time,
        kind: ProcessEventKind::Map {
            pid,
            range: VirtualAddress(start)..VirtualAddress(end),
            offset: FileOffset(offset),
            identity,
            path: path[..path.len().min(MAX_PATH_BYTES)].into(),
        },
    }))
}

/// Reads fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
    fn skip(&mut self, bytes: usize) -> Option<&mut Self> {
        self.0 = self.0.get(bytes..)?;
        Some(self)
    }
    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }
    /// The rest up to the first NUL.
    fn text(&self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        &self.0[..end.unwrap_or(self.0.len())]
    }
}
