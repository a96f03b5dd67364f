//! Ring records to samples: the layout of `profiler_common::layout::sample`. Pure.

use std::mem::offset_of;
use std::ops::Range;

use profiler_common::layout::sample::{
    MAX_KERNEL_FRAMES, MAX_USER_FRAMES, RECORD_OFF_CPU, RECORD_ON_CPU, SampleHeader,
};
use profiler_common::layout::snapshot::{
    GoThread, GoroutineWords, RECORD_SNAPSHOT, SnapshotHeader,
};
use profiler_common::layout::{RawFrame, SampleFlags};
use profiler_common::unwind::{Goroutine, Outcome};

use super::context;
use crate::profile::{
    BootTime, KernelAddress, ProfileKind, RawSample, StackBytes, StackSnapshot, ThreadName,
    VirtualAddress,
};

/// Why a record is not a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than a header, or than the frames that its header announces.
    #[error("the record is cut short")]
    Short,
    /// More frames than a record can have.
    #[error("the record announces more frames than there can be")]
    TooManyFrames,
    /// A kind of record that is not known.
    #[error("the record is of an unknown kind")]
    Kind,
    /// Entries behind the frames that are not what they should be.
    #[error("the record's context is malformed")]
    Context,
    /// More of its time was waiting for a CPU than it has.
    #[error("the record's parts are longer than the whole")]
    Value,
    /// An outcome that is not known.
    #[error("the record has an unknown outcome")]
    Outcome,
}

/// A record of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A sample.
    Sample(RawSample),
    /// The top of the stack of the sample that follows.
    Snapshot(Box<StackSnapshot>),
}

/// Decodes one record of any kind.
pub fn decode(record: &[u8]) -> Result<Record, Malformed> {
    if record.get(offset_of!(SnapshotHeader, kind)) == Some(&RECORD_SNAPSHOT) {
        decode_snapshot(record).map(Box::new).map(Record::Snapshot)
    } else {
        decode_sample(record).map(Record::Sample)
    }
}

fn decode_snapshot(record: &[u8]) -> Result<StackSnapshot, Malformed> {
    let (header, stack) = record
        .split_at_checked(size_of::<SnapshotHeader>())
        .ok_or(Malformed::Short)?;
    let mut reader = Reader { bytes: header };
    let header = read_snapshot_header(&mut reader).ok_or(Malformed::Short)?;
    let stack = stack.get(..header.bytes as usize).ok_or(Malformed::Short)?;
    Ok(StackSnapshot {
        time: BootTime(header.time),
        tid: header.tid,
        pc: header.pc,
        general: header.general,
        goroutine: header.goroutine,
        go: header.go,
        stacks: vec![StackBytes {
            start: VirtualAddress(header.start),
            bytes: stack.into(),
        }],
    })
}

fn read_snapshot_header(reader: &mut Reader<'_>) -> Option<SnapshotHeader> {
    let mut header = SnapshotHeader {
        time: u64::from_ne_bytes(reader.take()?),
        pc: u64::from_ne_bytes(reader.take()?),
        start: u64::from_ne_bytes(reader.take()?),
        goroutine: Goroutine {
            machine: u64::from_ne_bytes(reader.take()?),
            user: u64::from_ne_bytes(reader.take()?),
            inconsistent: u64::from_ne_bytes(reader.take()?),
        },
        tid: u32::from_ne_bytes(reader.take()?),
        bytes: u32::from_ne_bytes(reader.take()?),
        kind: u8::from_ne_bytes(reader.take()?),
        reserved: reader.take()?,
        ..SnapshotHeader::default()
    };
    for register in &mut header.general {
        *register = u64::from_ne_bytes(reader.take()?);
    }
    header.go = GoThread {
        thread_pointer: u64::from_ne_bytes(reader.take()?),
        running: u64::from_ne_bytes(reader.take()?),
        machine: u64::from_ne_bytes(reader.take()?),
        user_offset: u64::from_ne_bytes(reader.take()?),
        scheduler: read_goroutine(reader)?,
        user: read_goroutine(reader)?,
    };
    Some(header)
}

fn read_goroutine(reader: &mut Reader<'_>) -> Option<GoroutineWords> {
    let mut goroutine = GoroutineWords {
        address: u64::from_ne_bytes(reader.take()?),
        ..GoroutineWords::default()
    };
    for word in &mut goroutine.words {
        *word = u64::from_ne_bytes(reader.take()?);
    }
    Some(goroutine)
}

/// Decodes a sample. Bytes behind what the header announces are ignored: later kernel sides append.
fn decode_sample(record: &[u8]) -> Result<RawSample, Malformed> {
    let (header, rest) = record
        .split_at_checked(size_of::<SampleHeader>())
        .ok_or(Malformed::Short)?;
    let header = read_header(header).ok_or(Malformed::Short)?;
    let kind = match header.kind {
        RECORD_ON_CPU => ProfileKind::OnCpu,
        RECORD_OFF_CPU => ProfileKind::OffCpu,
        _ => return Err(Malformed::Kind),
    };
    if header.runnable > header.value {
        return Err(Malformed::Value);
    }
    let (kernel, user) = (
        usize::from(header.kernel_frames),
        usize::from(header.user_frames),
    );
    if kernel > MAX_KERNEL_FRAMES || user > MAX_USER_FRAMES {
        return Err(Malformed::TooManyFrames);
    }
    let (frames, rest) = rest
        .split_at_checked(8 * (kernel + user))
        .ok_or(Malformed::Short)?;
    let context = match header.context_bytes as usize {
        0 => None,
        length => Some(Box::new(context::decode(
            rest.get(..length).ok_or(Malformed::Short)?,
        )?)),
    };
    let (kernel, user) = frames.split_at(8 * kernel);
    Ok(RawSample {
        time: BootTime(header.time),
        kind,
        value: header.value,
        runnable: header.runnable,
        image: BootTime(header.image),
        cgroup: header.cgroup,
        pid: header.pid,
        tid: header.tid,
        cpu: header.cpu,
        thread_name: ThreadName(header.comm),
        outcome: Outcome::from_number(header.outcome).ok_or(Malformed::Outcome)?,
        flags: SampleFlags(header.flags),
        kernel: words(kernel).map(KernelAddress).collect(),
        user: words(user).map(RawFrame).collect(),
        context,
        snapshot: None,
    })
}

/// Drops the kernel frames in front of the scheduler's (`schedule`: the code of `__schedule`) of a sample of time off CPU: they
/// are of the program that took it, and of how the kernel came to run that. A stack without the scheduler is left as it is.
pub fn drop_watchers(sample: &mut RawSample, schedule: &Range<u64>) {
    if sample.kind != ProfileKind::OffCpu {
        return;
    }
    // They are return addresses: that of a call at the very end lies behind it.
    let called = |frame: &KernelAddress| schedule.contains(&frame.0.wrapping_sub(1));
    if let Some(depth) = sample.kernel.iter().position(called) {
        sample.kernel.drain(..depth);
    }
}

fn read_header(bytes: &[u8]) -> Option<SampleHeader> {
    let mut reader = Reader { bytes };
    let header = SampleHeader {
        time: u64::from_ne_bytes(reader.take()?),
        image: u64::from_ne_bytes(reader.take()?),
        cgroup: u64::from_ne_bytes(reader.take()?),
        pid: u32::from_ne_bytes(reader.take()?),
        tid: u32::from_ne_bytes(reader.take()?),
        cpu: u32::from_ne_bytes(reader.take()?),
        kernel_frames: u16::from_ne_bytes(reader.take()?),
        user_frames: u16::from_ne_bytes(reader.take()?),
        comm: reader.take()?,
        kind: u8::from_ne_bytes(reader.take()?),
        outcome: u8::from_ne_bytes(reader.take()?),
        flags: u16::from_ne_bytes(reader.take()?),
        context_bytes: u32::from_ne_bytes(reader.take()?),
        value: u64::from_ne_bytes(reader.take()?),
        runnable: u64::from_ne_bytes(reader.take()?),
    };
    Some(header)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::layout::snapshot::GENERAL_REGISTERS;
    use profiler_common::layout::{Frame, InterpretedFrame, Interpreter};
    use proptest::prelude::*;

    fn record(header: SampleHeader, frames: &[u64]) -> Vec<u8> {
        // SAFETY: `SampleHeader` is repr(C), without padding, and plain data.
        let header: [u8; size_of::<SampleHeader>()] = unsafe { std::mem::transmute(header) };
        let mut bytes = header.to_vec();
        bytes.extend(frames.iter().flat_map(|frame| frame.to_ne_bytes()));
        bytes
    }

    fn header() -> SampleHeader {
        SampleHeader {
            time: 1,
            image: 2,
            cgroup: 3,
            pid: 4,
            tid: 5,
            cpu: 6,
            kernel_frames: 1,
            user_frames: 2,
            comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
            kind: RECORD_ON_CPU,
            outcome: Outcome::Root as u8,
            flags: SampleFlags::IN_KERNEL,
            context_bytes: 0,
            value: 50_000_000,
            runnable: 20_000_000,
        }
    }

    #[test]
    fn every_field_is_where_the_kernel_side_puts_it() {
        let sample = decode_sample(&record(
            header(),
            &[0xffff_8000_0000_0001, 0x1000 | 1 << 63, 0x2000],
        ))
        .unwrap();
        assert_eq!(sample.time, BootTime(1));
        assert_eq!(sample.kind, ProfileKind::OnCpu);
        assert_eq!((sample.value, sample.runnable), (50_000_000, 20_000_000));
        assert_eq!(sample.image, BootTime(2));
        assert_eq!(
            (sample.cgroup, sample.pid, sample.tid, sample.cpu),
            (3, 4, 5, 6)
        );
        assert_eq!(sample.thread_name.to_text(), "worker");
        assert_eq!(sample.outcome, Outcome::Root);
        assert!(sample.flags.has(SampleFlags::IN_KERNEL));
        assert_eq!(sample.kernel, [KernelAddress(0xffff_8000_0000_0001)]);
        assert_eq!(sample.user.len(), 2);
        assert!(sample.user[0].interrupted() && sample.user[0].pc() == 0x1000);
        assert!(!sample.user[1].interrupted() && sample.user[1].pc() == 0x2000);
    }

    #[test]
    fn frames_of_interpreters_are_among_those_of_code() {
        let python = InterpretedFrame::new(Interpreter::Cpython, 0x7f00_0000_1000, 12, 0xabcd);
        let [first, second] = python.words();
        let words = [
            0x1000 | RawFrame::INTERRUPTED,
            first,
            second,
            0x2000,
            first,
            second,
        ];
        let frames = |user_frames: u16| {
            let header = SampleHeader {
                kernel_frames: 0,
                user_frames,
                ..header()
            };
            let sample = decode_sample(&record(header, &words)).unwrap();
            sample.user_frames().collect::<Vec<_>>()
        };
        let code = |word| Frame::Code(RawFrame(word));
        let whole = [
            code(words[0]),
            Frame::Interpreted(python),
            code(0x2000),
            Frame::Interpreted(python),
        ];
        assert_eq!(frames(6), whole);
        // Cut in the middle of a frame: an address in no mapping is left, and nothing behind it is taken for its other half.
        assert_eq!(frames(5), [&whole[..3], &[code(first)][..]].concat());
        assert_eq!(frames(2), [whole[0], code(first)]);
    }

    #[test]
    fn what_is_malformed_has_a_reason() {
        let whole = record(header(), &[1, 2, 3]);
        for length in 0..whole.len() {
            assert_eq!(decode_sample(&whole[..length]), Err(Malformed::Short));
        }
        let many = SampleHeader {
            user_frames: 1025,
            ..header()
        };
        assert_eq!(
            decode_sample(&record(many, &[0; 1026])),
            Err(Malformed::TooManyFrames)
        );
        assert_eq!(
            decode_sample(&record(
                SampleHeader {
                    kind: 9,
                    ..header()
                },
                &[1, 2, 3]
            )),
            Err(Malformed::Kind)
        );
        assert_eq!(
            decode_sample(&record(
                SampleHeader {
                    outcome: 99,
                    ..header()
                },
                &[1, 2, 3]
            )),
            Err(Malformed::Outcome)
        );
    }

    #[test]
    fn time_off_cpu_has_a_part_that_is_no_longer_than_the_whole() {
        let off_cpu = SampleHeader {
            kind: RECORD_OFF_CPU,
            ..header()
        };
        let sample = decode_sample(&record(off_cpu, &[1, 2, 3])).unwrap();
        assert_eq!(sample.kind, ProfileKind::OffCpu);
        let longer = SampleHeader {
            runnable: off_cpu.value + 1,
            ..off_cpu
        };
        let refused = decode_sample(&record(longer, &[1, 2, 3]));
        assert_eq!(refused, Err(Malformed::Value));
    }

    #[test]
    fn frames_of_who_watches_the_scheduler_are_dropped() {
        let schedule = 0x1000..0x2000;
        let stack = |kind, kernel: &[u64]| {
            let frames = kernel.iter().copied().chain([1, 2]).collect::<Vec<_>>();
            let header = SampleHeader {
                kind,
                kernel_frames: kernel.len() as u16,
                ..header()
            };
            let mut sample = decode_sample(&record(header, &frames)).unwrap();
            drop_watchers(&mut sample, &schedule);
            sample
                .kernel
                .iter()
                .map(|frame| frame.0)
                .collect::<Vec<_>>()
        };
        // The first word of a function is no return address of it, and the first behind it may be.
        for within in [0x1001, 0x2000] {
            let whole = [0x9000, 0x1000, within, 0x3000, 0x1800];
            assert_eq!(stack(RECORD_OFF_CPU, &whole), whole[2..]);
            assert_eq!(stack(RECORD_ON_CPU, &whole), whole);
        }
        assert_eq!(stack(RECORD_OFF_CPU, &[0x9000, 0x3000]), [0x9000, 0x3000]);
        assert_eq!(stack(RECORD_OFF_CPU, &[]), [0; 0]);
    }

    #[test]
    fn a_snapshot_is_what_the_kernel_side_wrote() {
        let mut general = [0; GENERAL_REGISTERS];
        general[7] = 0x7ffc_0000_1000;
        general[31] = 31;
        let goroutine = |address, first| GoroutineWords {
            address,
            words: std::array::from_fn(|index| first + index as u64),
        };
        let go = GoThread {
            thread_pointer: 6,
            running: 7,
            machine: 8,
            user_offset: 9,
            scheduler: goroutine(10, 100),
            user: goroutine(11, 200),
        };
        let header = SnapshotHeader {
            time: 1,
            pc: 2,
            start: 0x7ffc_0000_1000,
            goroutine: Goroutine {
                machine: 3,
                user: 4,
                inconsistent: 0,
            },
            tid: 5,
            bytes: 16,
            kind: RECORD_SNAPSHOT,
            reserved: [0; 7],
            general,
            go,
        };
        // SAFETY: `SnapshotHeader` is repr(C), without padding, and plain data.
        let header: [u8; size_of::<SnapshotHeader>()] = unsafe { std::mem::transmute(header) };
        let record = [&header[..], &[9; 20]].concat();
        let Ok(Record::Snapshot(snapshot)) = decode(&record) else {
            panic!("{:?}", decode(&record));
        };
        assert_eq!(
            (snapshot.time, snapshot.pc, snapshot.tid),
            (BootTime(1), 2, 5)
        );
        assert_eq!(
            (snapshot.goroutine.machine, snapshot.goroutine.user),
            (3, 4)
        );
        assert_eq!(snapshot.general, general);
        assert_eq!(snapshot.go, go);
        let stack = StackBytes {
            start: VirtualAddress(0x7ffc_0000_1000),
            bytes: vec![9; 16],
        };
        assert_eq!(snapshot.stacks, [stack]);
        for length in 0..header.len() + 16 {
            assert_eq!(decode(&record[..length]), Err(Malformed::Short), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
            match decode(&bytes) {
                Ok(Record::Sample(sample)) => {
                    prop_assert!(size_of::<SampleHeader>() + 8 * (sample.kernel.len() + sample.user.len()) <= bytes.len());
                }
                Ok(Record::Snapshot(snapshot)) => {
                    prop_assert!(size_of::<SnapshotHeader>() + snapshot.stack_bytes() <= bytes.len());
                }
                Err(_) => {}
            }
        }
    }
}
