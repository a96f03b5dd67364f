//! Strings in read-only data: read once for each process and image, and only those.

mod space;

use profiler_common::context::constants::{Constants, Owner};
use profiler_common::context::labels::{LabelWalk, Text};
use profiler_common::layout::GoRuntime;
use profiler_common::layout::context::MAX_KEY;
use proptest::prelude::*;
use space::Space;

const START: u64 = 0x40_0000;
const OWNER: Owner = Owner { pid: 7, image: 1 };

fn holding(bytes: &[u8]) -> Space {
    let mut space = Space::default();
    space.put(START, bytes);
    space
}

fn get(constants: &mut Constants, owner: Owner, text: Text, space: &mut Space) -> Option<Vec<u8>> {
    let words = constants.get(owner, text, space)?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Some(bytes[..text.length as usize].to_vec())
}

#[test]
fn a_string_is_read_once() {
    let mut space = holding(b"endpoint and more");
    let mut constants = Constants::default();
    for text in [
        Text {
            address: START,
            length: 8,
        },
        Text {
            address: START,
            length: 7,
        },
        Text {
            address: START + 9,
            length: 8,
        },
        Text {
            address: START + 9,
            length: 0,
        },
    ] {
        let before = space.reads;
        for _ in 0..3 {
            let expected = space.get(text.address, text.length);
            assert_eq!(get(&mut constants, OWNER, text, &mut space), expected);
        }
        assert_eq!(space.reads - before, 1, "{text:?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_remembered() {
    let mut space = holding(b"endpoint");
    let mut constants = Constants::default();
    let text = Text {
        address: START,
        length: 8,
    };
    let unreadable = Text {
        address: START,
        length: 9,
    };
    assert_eq!(get(&mut constants, OWNER, unreadable, &mut space), None);
    assert_eq!(
        get(&mut constants, OWNER, text, &mut space).as_deref(),
        Some(&b"endpoint"[..])
    );
    space.put(START + 8, b"s");
    assert_eq!(
        get(&mut constants, OWNER, unreadable, &mut space).as_deref(),
        Some(&b"endpoints"[..])
    );
    let mut space = holding(&[b'x'; 2 * MAX_KEY]);
    for length in [MAX_KEY as u64 + 1, (1 << 32) + 8, u64::MAX] {
        let long = Text {
            address: START,
            length,
        };
        assert_eq!(get(&mut constants, OWNER, long, &mut space), None);
    }
}

#[test]
fn only_short_texts_within_the_read_only_data_are_constant() {
    let walk = |constants, constants_bytes| {
        let go = GoRuntime {
            constants,
            constants_bytes,
            ..GoRuntime::default()
        };
        let mut walk = LabelWalk::default();
        walk.begin(&go, 0, &mut holding(&[]));
        move |address, length| walk.is_constant(Text { address, length })
    };
    let is_constant = walk(START, 0x1000);
    assert!(
        is_constant(START, 8)
            && is_constant(START + 0xff8, 8)
            && is_constant(START, MAX_KEY as u64)
    );
    assert!(!is_constant(START - 1, 8) && !is_constant(START + 0xff9, 8));
    assert!(!is_constant(START, MAX_KEY as u64 + 1) && !is_constant(START + 0x1000, 0));
    let nothing = walk(0, 0);
    assert!(!nothing(0, 0) && !nothing(START, 8) && !nothing(u64::MAX, 0));
    // A file that says anything.
    let all = walk(u64::MAX, u64::MAX);
    assert!(all(u64::MAX, 8) && all(0, 8) && !all(u64::MAX - 1, 8));
}

proptest! {
    /// Whatever is asked for in whatever order: it is what the process's own memory holds.
    #[test]
    fn nobody_gets_what_is_another_process_s(
        asked in prop::collection::vec((0..3u32, 0..2u64, 0..100u64, 0..=64u64), 1..400)
    ) {
        let mut constants = Constants::default();
        for (pid, image, offset, length) in asked {
            let owner = Owner { pid: pid + 1, image };
            let fill = (16 * (pid + 1)) as u8 + image as u8;
            let bytes: Vec<u8> = (0..200).map(|at: u8| at ^ fill).collect();
            let mut space = holding(&bytes);
            let text = Text { address: START + offset, length };
            let expected = bytes[offset as usize..(offset + length) as usize].to_vec();
            prop_assert_eq!(get(&mut constants, owner, text, &mut space), Some(expected));
        }
    }
}
