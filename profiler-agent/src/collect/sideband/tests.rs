//! Records built by hand from the layout in perf_event.h, and hostile ones. That the kernel's own
//! records are read right is shown in `tests/sideband.rs`.

use proptest::prelude::*;

use super::decode::{Malformed, decode};
use super::events_of;
use super::ring::{LyingSize, Records, Taken, pieces};
use crate::profile::{
    BootTime, BuildId, Degradation, FileIdentity, FileOffset, KernelAddress, KernelCodeKind,
    Losses, ProcessEvent, ProcessEventKind, ThreadName, VirtualAddress,
};

const TIME: u64 = 0x0123_4567_89ab;

/// A record of `kind` with `body` and the tail that `sample_id_all` adds.
fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(misc.to_ne_bytes());
    bytes.extend(((8 + body.len() + 24) as u16).to_ne_bytes());
    bytes.extend(body);
    bytes.extend([7_u32.to_ne_bytes(), 8_u32.to_ne_bytes()].concat());
    bytes.extend(TIME.to_ne_bytes());
    bytes.extend([1_u32.to_ne_bytes(), 0_u32.to_ne_bytes()].concat());
    bytes
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_ne_bytes())
        .collect()
}

fn event(kind: ProcessEventKind) -> Result<Option<ProcessEvent>, Malformed> {
    Ok(Some(ProcessEvent {
        time: BootTime(TIME),
        kind,
    }))
}

fn name(text: &[u8]) -> ThreadName {
    let mut name = ThreadName::default();
    name.0[..text.len()].copy_from_slice(text);
    name
}

/// The body of an MMAP2 record.
fn mapping(start: u64, length: u64, file: [u8; 24], protection: u32, path: &[u8]) -> Vec<u8> {
    let mut body = words(&[10, 11]);
    for value in [start, length, 0x2000] {
        body.extend(value.to_ne_bytes());
    }
    body.extend(file);
    body.extend(words(&[protection, 2]));
    body.extend(path);
    body.push(0);
    body.resize(body.len().next_multiple_of(8), 0);
    body
}

#[test]
fn exec_and_rename_differ_by_a_bit() {
    let body = [words(&[10, 11]), b"worker\0\0".to_vec()].concat();
    assert_eq!(
        decode(&record(3, 1 << 13, &body)),
        event(ProcessEventKind::Exec {
            pid: 10,
            name: name(b"worker"),
        })
    );
    assert_eq!(
        decode(&record(3, 0, &body)),
        event(ProcessEventKind::Rename {
            pid: 10,
            tid: 11,
            name: name(b"worker"),
        })
    );
}

#[test]
fn a_name_without_an_end_is_cut() {
    let body = [words(&[10, 11]), vec![b'x'; 64]].concat();
    assert_eq!(
        decode(&record(3, 1 << 13, &body)),
        event(ProcessEventKind::Exec {
            pid: 10,
            name: name(&[b'x'; 15]),
        })
    );
}

#[test]
fn fork_and_exit() {
    let body = [words(&[20, 10, 21, 11]), 5_u64.to_ne_bytes().to_vec()].concat();
    assert_eq!(
        decode(&record(7, 0, &body)),
        event(ProcessEventKind::Fork {
            pid: 20,
            tid: 21,
            parent_pid: 10,
        })
    );
    assert_eq!(
        decode(&record(4, 0, &body)),
        event(ProcessEventKind::Exit { pid: 20, tid: 21 })
    );
}

#[test]
fn code_of_the_kernel_comes_and_goes() {
    let symbol = |length: u32, kind: u16, flags: u16| {
        let mut body = 0xffff_ffff_c000_1000_u64.to_ne_bytes().to_vec();
        body.extend(length.to_ne_bytes());
        body.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        body.extend(b"bpf_prog_6deef7357e7b4530_alpha\0");
        decode(&record(17, 0, &body))
    };
    let range = KernelAddress(0xffff_ffff_c000_1000)..KernelAddress(0xffff_ffff_c000_1100);
    let came = |kind| ProcessEventKind::KernelCodeCame {
        range: range.clone(),
        kind,
        name: "bpf_prog_6deef7357e7b4530_alpha".into(),
    };
    assert_eq!(symbol(0x100, 1, 0), event(came(KernelCodeKind::Bpf)));
    assert_eq!(symbol(0x100, 2, 0), event(came(KernelCodeKind::Trampoline)));
    let went = ProcessEventKind::KernelCodeWent {
        range: range.clone(),
    };
    assert_eq!(symbol(0x100, 1, 1), event(went));
    assert_eq!(symbol(0, 1, 0), Err(Malformed::Range));
    assert_eq!(decode(&record(17, 0, &[0; 8])), Err(Malformed::Short(17)));
}

#[test]
fn mapping_by_build_id() {
    let mut file = [0; 24];
    file[0] = 20;
    file[4..].copy_from_slice(&[0xab; 20]);
    let body = mapping(0x1000, 0x3000, file, 5, b"/usr/lib/libc.so.6");
    assert_eq!(
        decode(&record(10, 1 << 14 | 2, &body)),
        event(ProcessEventKind::Map {
            pid: 10,
            range: VirtualAddress(0x1000)..VirtualAddress(0x4000),
            offset: FileOffset(0x2000),
            identity: FileIdentity::BuildId(BuildId::new(&[0xab; 20]).unwrap()),
            path: b"/usr/lib/libc.so.6".as_slice().into(),
        })
    );
}

#[test]
fn mapping_by_inode() {
    let file: [u8; 24] = [
        words(&[254, 1]),
        77_u64.to_ne_bytes().to_vec(),
        3_u64.to_ne_bytes().to_vec(),
    ]
    .concat()
    .try_into()
    .unwrap();
    let body = mapping(0x1000, 0x3000, file, 5, b"/a");
    assert_eq!(
        decode(&record(10, 2, &body)),
        event(ProcessEventKind::Map {
            pid: 10,
            range: VirtualAddress(0x1000)..VirtualAddress(0x4000),
            offset: FileOffset(0x2000),
            identity: FileIdentity::Inode {
                major: 254,
                minor: 1,
                inode: 77,
                generation: 3,
            },
            path: b"/a".as_slice().into(),
        })
    );
}

#[test]
fn mappings_that_hold_no_code_are_left_out() {
    for (misc, protection) in [(2, 1), (1 << 13, 5)] {
        let body = mapping(0x1000, 0x3000, [0; 24], protection, b"//anon");
        assert_eq!(decode(&record(10, misc, &body)), Ok(None));
    }
}

#[test]
fn impossible_ranges_are_malformed() {
    for (start, length) in [(0x1000, 0), (u64::MAX, 2), (1, u64::MAX)] {
        let body = mapping(start, length, [0; 24], 5, b"//anon");
        assert_eq!(decode(&record(10, 2, &body)), Err(Malformed::Range));
    }
}

#[test]
fn lost_records_are_told() {
    let body = [1_u64.to_ne_bytes(), 99_u64.to_ne_bytes()].concat();
    assert_eq!(
        decode(&record(2, 0, &body)),
        event(ProcessEventKind::Lost {
            records: 99,
            since: BootTime(TIME),
        })
    );
}

#[test]
fn what_was_lost_came_behind_the_record_before() {
    let lost = record(2, 0, &[1_u64.to_ne_bytes(), 99_u64.to_ne_bytes()].concat());
    let mut earlier = record(3, 0, &[0; 16]);
    let time = earlier.len() - 16;
    earlier[time..time + 8].copy_from_slice(&(TIME - 5).to_ne_bytes());
    for (bytes, since) in [
        (lost.clone(), TIME - 9),
        ([earlier, lost].concat(), TIME - 5),
    ] {
        let (mut events, mut losses) = (Vec::new(), Losses::default());
        let last = events_of(&bytes, BootTime(TIME - 9), &mut events, &mut losses);
        assert_eq!(last, BootTime(TIME));
        assert_eq!(
            losses.named().collect::<Vec<_>>(),
            [(Degradation::SidebandLost.name(), 99)]
        );
        assert_eq!(
            events.pop().map(|event| event.kind),
            Some(ProcessEventKind::Lost {
                records: 99,
                since: BootTime(since)
            })
        );
    }
}

#[test]
fn a_ring_without_room_for_a_record_may_have_dropped_one() {
    const SIZE: usize = 128 << 10;
    for (taken, what) in [
        (0, Taken::All),
        (SIZE - 8_192, Taken::All),
        (SIZE - 4_096, Taken::UpToRoom),
        (SIZE, Taken::UpToRoom),
    ] {
        let pieces = pieces(77 + taken as u64, 77, SIZE);
        assert_eq!(Taken::of(pieces.as_ref(), SIZE), what, "{taken}");
    }
    assert_eq!(Taken::of(None, SIZE), Taken::Nonsense);
}

#[test]
fn other_records_are_no_events() {
    assert_eq!(decode(&record(9, 0, &[0; 64])), Ok(None));
}

#[test]
fn every_short_record_is_malformed() {
    let bodies = [
        (2, vec![0; 16]),
        (3, vec![0; 16]),
        (7, vec![0; 24]),
        (10, mapping(0x1000, 0x1000, [0; 24], 5, b"")),
    ];
    for (kind, body) in bodies {
        let whole = record(kind, 0, &body);
        assert!(decode(&whole).is_ok(), "{kind}");
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            if let Some(size) = cut.get_mut(6..8) {
                size.copy_from_slice(&(length as u16).to_ne_bytes());
            }
            match decode(&cut) {
                Err(Malformed::Short(_)) => {}
                // Padding was cut, not a field: the name or path is only shorter.
                Ok(Some(_)) if (kind == 3 || kind == 10) && length > whole.len() - 16 => {}
                other => panic!("record {kind} of {length} bytes: {other:?}"),
            }
        }
    }
}

#[test]
fn sizes_that_lie_end_the_reading() {
    let good = record(9, 0, &[0; 8]);
    let mut bytes = good.clone();
    bytes.extend(&good);
    bytes[good.len() + 6] = 4;
    let read: Vec<_> = Records::new(&bytes).collect();
    assert_eq!(read, [Ok(&good[..]), Err(LyingSize)]);
    bytes[good.len() + 6] = 255;
    let read: Vec<_> = Records::new(&bytes).collect();
    assert_eq!(read, [Ok(&good[..]), Err(LyingSize)]);
    assert_eq!(Records::new(&good[..5]).next(), Some(Err(LyingSize)));
}

/// A model of the kernel's side: a ring written byte by byte.
fn written(size: usize, from: u64, bytes: &[u8]) -> Vec<u8> {
    let mut ring = vec![0xee; size];
    for (index, byte) in bytes.iter().enumerate() {
        ring[((from + index as u64) % size as u64) as usize] = *byte;
    }
    ring
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        tail in any::<u64>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..=64),
    ) {
        // 64 divides 2^64, so the counters may also wrap around.
        let ring = written(64, tail, &bytes);
        let pieces = pieces(tail.wrapping_add(bytes.len() as u64), tail, 64).unwrap();
        let read: Vec<u8> = pieces.into_iter().flat_map(|piece| ring[piece].to_vec()).collect();
        prop_assert_eq!(read, bytes);
    }

    #[test]
    fn counters_that_lie_are_refused(tail in any::<u64>(), more in 65..=u64::MAX) {
        prop_assert_eq!(pieces(tail.wrapping_add(more), tail, 64), None);
    }

    #[test]
    fn any_bytes_are_records_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        crate::collect::sideband::check_hostile(&bytes);
    }

    #[test]
    fn any_body_is_an_event_or_malformed(
        kind in prop_oneof![Just(2_u32), Just(3), Just(4), Just(7), Just(10), any::<u32>()],
        misc in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        crate::collect::sideband::check_hostile(&record(kind, misc, &body));
    }
}
