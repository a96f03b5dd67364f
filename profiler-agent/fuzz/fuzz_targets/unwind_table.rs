//! ELF files whose call frame information becomes unwind tables. As property tests:
//! `unwind::tests::hostile`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler_agent::unwind::{RuleInterner, build, reindex};
use profiler_common::unwind::table::rule_index;

fuzz_target!(|bytes: &[u8]| {
    let Ok(built) = build(bytes) else {
        return;
    };
    let table = built.table;
    let buckets = table.buckets;
    let end = u64::from(buckets) << 10;
    let mut shared = RuleInterner::new();
    let reindexed = reindex(table.clone(), &mut shared);
    for offset in (0..end).step_by(509) {
        let own = rule_index(table.words.as_slice(), buckets, offset);
        let own = own.expect("a table covers its range");
        let number = rule_index(reindexed.words.as_slice(), buckets, offset);
        let number = number.expect("renumbering keeps the rows");
        assert_eq!(
            table.rules[usize::from(own)],
            shared.rules()[usize::from(number)]
        );
    }
});
