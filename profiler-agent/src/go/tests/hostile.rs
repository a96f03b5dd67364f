//! Any change to any bytes gives functions or a reason, never a panic or an endless walk. Fuzzed without end:
//! `fuzz/fuzz_targets/go_line_table.rs`.

use proptest::prelude::*;

use super::*;
use crate::go::version_of;

fn change() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..9),
        prop::collection::vec(Just(0xff), 1..9),
        prop::collection::vec(Just(0), 1..9),
        prop::collection::vec(Just(0x80), 1..9),
    ];
    (any::<u32>(), bytes)
}

/// What holds of any bytes.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let _ = (is_go(bytes), version_of(bytes));
    let Ok(table) = LineTable::find(bytes) else {
        return Ok(());
    };
    let mut ended = table.start();
    for function in table.functions() {
        prop_assert!(ended <= function.entry() && function.entry() < function.end());
        prop_assert!(function.end().0 - table.start().0 <= bytes.len() as u64);
        ended = function.end();
        let mut address = function.entry();
        for range in function.stack_deltas().filter_map(Result::ok) {
            prop_assert!(range.0.start == address && address < range.0.end);
            address = range.0.end;
        }
        prop_assert!(address <= function.end());
        let last = ElfAddress(function.end().0 - 1);
        for address in [function.entry(), last] {
            let mut steps = Steps(1 << 16);
            let found = function.frames(address, &mut steps);
            prop_assert!(found.frames.len() <= 257);
            prop_assert!(found.malformed.is_some() || !found.frames.is_empty());
        }
        let _ = (function.file(), function.start_line(), function.flags());
    }
    prop_assert!(LineTable::with(bytes, table.layout()).is_some());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_programs_are_survived(
        format in prop::sample::select(FORMATS.to_vec()),
        in_header in any::<bool>(),
        changes in prop::collection::vec(change(), 0..12),
        kept in prop_oneof![9 => Just(1000_usize), 1 => 0_usize..1000],
    ) {
        let mut program = Program::new(format);
        program.text_in_header = in_header;
        let mut bytes = program.build();
        for (place, change) in changes {
            // Half of the changes hit the table.
            let start = if place % 2 == 0 { 0 } else { TABLE_OFFSET };
            let place = start + place as usize % (bytes.len() - start);
            let length = change.len().min(bytes.len() - place);
            bytes[place..place + length].copy_from_slice(&change[..length]);
        }
        bytes.truncate(bytes.len() * kept / 1000);
        check(&bytes)?;
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        check(&bytes)?;
    }
}
