use proptest::prelude::*;

use super::*;

const AREA: u64 = 0xffff_ffff_c000_0000;

fn range(start: u64, bytes: u64) -> Range<KernelAddress> {
    KernelAddress(AREA + start)..KernelAddress(AREA + start + bytes)
}

fn listed(start: u64, name: &str) -> Listed {
    Listed {
        start: KernelAddress(AREA + start),
        kind: KernelCodeKind::Bpf,
        name: name.into(),
    }
}

fn name(table: &KernelCodeTable, address: u64, time: u64) -> Option<String> {
    let code = table.at(KernelAddress(AREA + address), BootTime(time));
    code.map(|code| code.name.to_string())
}

fn came(table: &mut KernelCodeTable, time: u64, at: Range<KernelAddress>, name: &str) {
    table.came(BootTime(time), at, KernelCodeKind::Bpf, name);
}

#[test]
fn a_name_holds_while_its_code_is_there() {
    let mut table = KernelCodeTable::default();
    came(&mut table, 10, range(0, 100), "first");
    table.went(BootTime(20), &range(0, 100));
    came(&mut table, 30, range(40, 100), "second");
    let first = Some("first".to_owned());
    let second = Some("second".to_owned());
    assert_eq!(name(&table, 50, 9), None);
    assert_eq!(name(&table, 50, 10), first);
    assert_eq!(name(&table, 50, 19), first);
    assert_eq!(name(&table, 50, 20), None);
    assert_eq!(name(&table, 50, 30), second);
    assert_eq!(name(&table, 139, u64::MAX - 1), second);
    assert_eq!(name(&table, 140, 30), None);
    // Its end was not told, but another one is there.
    came(&mut table, 40, range(100, 100), "third");
    assert_eq!(name(&table, 120, 39), second);
    assert_eq!(name(&table, 50, 40), None);
    table.expire(BootTime(0).plus(KEPT + Duration::from_nanos(21)));
    assert_eq!(name(&table, 50, 10), None);
    assert_eq!(name(&table, 120, 39), second);
}

#[test]
fn what_was_there_before_is_listed() {
    let mut table = KernelCodeTable::default();
    table.listed(&[listed(0, "early"), listed(0x1000, "next")], BootTime(5));
    let early = Some("early".to_owned());
    assert_eq!(name(&table, 0x0fff, 1), early);
    assert_eq!(name(&table, 0x1000, 1).as_deref(), Some("next"));
    assert_eq!(name(&table, 0x1000 + MAX_LISTED_BYTES, 1), None);
    // What comes behind it says where it ends at the latest.
    came(&mut table, 10, range(0x800, 0x100), "late");
    assert_eq!(name(&table, 0x7ff, 11), early);
    assert_eq!(name(&table, 0x800, 11).as_deref(), Some("late"));
    assert_eq!(name(&table, 0x900, 11), None);
    // It was listed before its record was read.
    came(&mut table, 4, range(0x1000, 0x80), "next");
    assert_eq!(name(&table, 0x1080, 11), None);
    assert_eq!(name(&table, 0x107f, 1).as_deref(), Some("next"));
}

#[test]
fn there_is_no_name_while_records_are_missing() {
    let mut table = KernelCodeTable::default();
    came(&mut table, 10, range(0, 100), "stays");
    came(&mut table, 10, range(200, 100), "goes");
    table.lose(BootTime(20), BootTime(25));
    let now = BootTime(0).plus(BETWEEN_LISTS);
    assert!(table.list_wanted(now));
    // What went then may still seem to be there.
    assert_eq!(name(&table, 200, 26), None);
    table.listed(&[listed(0, "stays"), listed(400, "new")], BootTime(30));
    assert!(!table.list_wanted(now.plus(BETWEEN_LISTS)));
    for (address, new) in [(0, Some("stays")), (200, None), (400, Some("new"))] {
        assert_eq!(name(&table, address, 20), None);
        assert_eq!(name(&table, address, 29), None);
        assert_eq!(name(&table, address, 30).as_deref(), new);
    }
    assert_eq!(name(&table, 200, 19).as_deref(), Some("goes"));
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let mut table = KernelCodeTable::default();
    let list: Vec<Listed> = (0..=MAX_PIECES as u64)
        .map(|index| listed(index << 4, "many"))
        .collect();
    table.listed(&list, BootTime(1));
    let last = (MAX_PIECES as u64) << 4;
    assert_eq!(name(&table, last - 1, 1).as_deref(), Some("many"));
    assert_eq!(name(&table, last, 1), None);
    assert_eq!((table.take_left_out(), table.take_left_out()), (1, 0));
    came(&mut table, 2, range(last, 16), "more");
    assert_eq!(table.take_left_out(), 1);
    // A range of nothing is no piece.
    came(&mut table, 2, range(last, 0), "none");
    assert_eq!(table.take_left_out(), 0);
}

#[test]
fn frames_of_the_kernel_that_are_in_such_code_say_so() {
    let mut table = KernelCodeTable::default();
    came(&mut table, 10, range(0, 100), "program");
    let frame = |key| LocatedFrame {
        key,
        executable: None,
        kernel_code: None,
    };
    let inside = KernelAddress(AREA + 1);
    let mut frames = [KernelAddress(1), inside].map(|address| frame(LocationKey::Kernel(address)));
    table.settle(BootTime(10), &mut frames);
    assert_eq!(frames[0].key, LocationKey::Kernel(KernelAddress(1)));
    let code = frames[1]
        .kernel_code
        .as_ref()
        .expect("it is in the program");
    assert_eq!(&*code.name, "program");
    assert_eq!(frames[1].key, LocationKey::KernelCode(code.id, inside));
}

proptest! {
    /// Code that comes and goes in any order is found where and when it was there, by a plain list of all.
    #[test]
    fn a_plain_list_says_the_same(
        acts in prop::collection::vec((0_u64..32, 1_u64..6, any::<bool>()), 1..60),
    ) {
        let mut table = KernelCodeTable::default();
        // Start, end, from, until, name.
        let mut all: Vec<(u64, u64, u64, u64, String)> = Vec::new();
        for (index, (start, length, comes)) in acts.into_iter().enumerate() {
            let time = 10 * (index as u64 + 1);
            if comes {
                let end = start + length;
                for old in all.iter_mut().filter(|old| old.3 == u64::MAX) {
                    if old.0 < end && start < old.1 {
                        old.3 = time;
                    }
                }
                let name = format!("p{index}");
                came(&mut table, time, range(start, length), &name);
                all.push((start, end, time, u64::MAX, name));
            } else if let Some(old) = all.iter_mut().find(|old| old.0 == start && old.3 == u64::MAX) {
                old.3 = time;
                table.went(BootTime(time), &range(start, old.1 - old.0));
            }
        }
        for time in (5..650).step_by(5) {
            for address in 0..40 {
                let expected = all.iter().find(|piece| {
                    (piece.0..piece.1).contains(&address) && (piece.2..piece.3).contains(&time)
                });
                prop_assert_eq!(
                    name(&table, address, time),
                    expected.map(|piece| piece.4.clone())
                );
            }
        }
    }
}
